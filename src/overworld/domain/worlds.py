"""What a world lies on: the choice, what is wanted of it, and what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MINIMUM_DISK_MIB = 1024
"""Clouds make no smaller volumes."""

MAXIMUM_DISK_MIB = 32 * 1024 * 1024
"""The largest disk that Azure makes: 32 TiB."""

NO_SHARES = "This installation has no file shares: choose disk as the storage of this server."


class Storage(StrEnum):
    """What a world lies on."""

    DISK = "disk"  # a volume of its own, on one node at a time
    SHARE = "share"  # a folder in a file share of the installation


@dataclass(frozen=True, slots=True)
class WantedFolder:
    """The folder in a share that a world lies in, as a CSI volume: driver, volume attributes and mount options."""

    driver: str
    attributes: Mapping[str, str]
    mount_options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """The disk of one generation of a world, where disks have sizes.

    ``asked_mib`` is what the engine has asked the cluster for; ``mib`` is what there is, None before it was made.
    ``pending`` is a sentence while it is smaller than asked for: what is waited for, or why it does not grow.
    """

    asked_mib: int
    mib: int | None
    pending: str | None = None


def say_size(mib: int) -> str:
    """A size in the largest unit that divides it: "8 GiB", "1536 MiB"."""
    for size, unit in ((1024 * 1024, "TiB"), (1024, "GiB")):
        if mib % size == 0:
            return f"{mib // size} {unit}"
    return f"{mib} MiB"
