"""A program as a value: handed from who knows what to run to who runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Program:
    """Arguments, which everybody on the machine can read; the environment, where its secrets are; and the only files
    and folders, besides the system's, that it has to read (whole paths)."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    reads: Sequence[str] = ()
