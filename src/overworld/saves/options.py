"""How restic works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True, slots=True)
class ResticOptions:
    """How restic works; docs/performance.md has the figures behind the defaults.

    ``pack_mib``: how much goes into one object of the store (4-128): larger ones are fewer requests, but more memory
    (about ``connections`` times it) and more to repack. ``connections``: requests at once. ``readers``: files read at
    once. ``upload_kib_s`` and ``download_kib_s``: limits, 0 for none. ``memory_mib``: where Go begins to collect
    garbage harder. ``patience``: how long a store may fail before it counts as unavailable. ``cache_mib``: the most
    that the cache has once an hour.
    """

    pack_mib: int = 16
    compression: Literal["auto", "off", "max"] = "auto"
    connections: int = 8
    readers: int = 4
    upload_kib_s: int = 0
    download_kib_s: int = 0
    memory_mib: int = 512
    cache_mib: int = 4096
    patience: timedelta = timedelta(minutes=2)
    stuck_request: timedelta = timedelta(minutes=1)
