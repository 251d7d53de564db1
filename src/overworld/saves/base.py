"""The port of a save store. asyncio; the callers are the worker's jobs, and web for what only reads.

A **repository** holds the saves of one server and of nothing else. Whoever calls a method marked *writes* holds the
lease of that server's world, so two of them never work on one repository at once; ``holds_lease=True`` says so, and
only then may a lock that a killed one left behind be removed. Methods marked *reads* need no lease and take no lock:
they never stop anybody, and a ``prune`` at the same moment can make them fail, after which trying again is right.

Every method raises, besides ``asyncio.CancelledError``:

- ``SaveStoreUnavailable``: a passing fault. ``SaveStoreRefused``: somebody has to act, and the detail says how.
- ``RepositoryDamaged``, ``NoSuchSave``, ``DiskFull``: what the names say.
- ``RepositoryLocked``: only *writes*, and only without ``holds_lease``.
- ``SaveDeadline``: the deadline passed. ``SaveCancelled``: somebody else ended the program that was at work.
- ``SaveError`` itself, with the program's own words, for what nobody foresaw.

Each ends within its ``deadline`` and some seconds. Cancelled, or with its process killed at any moment, it leaves no
save half made: a snapshot is there whole or not at all, and all earlier ones stay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal

QUICK = timedelta(minutes=2)
LONG = timedelta(hours=2)
MOST_LISTED = 10_000
"""Entries of a folder in a save."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where one server's saves are, and what opens them. Printing it shows no secret.

    ``url`` is in restic's words (a folder, or ``s3:https://endpoint/bucket/prefix``); ``environment`` holds the keys
    of the store, by the names of the environment variables that the program reads. ``ca_file`` holds the only
    certificate authority that is believed for it (PEM); None: the usual ones.
    """

    url: str
    password: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine; None for one behind S3."""
        return None if self.url.startswith("s3:") else Path(self.url)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: files and bytes looked at (a save) or written (a restore). ``bytes_total`` is None where it is
    not known before the end; the size of the save before is then the best guess."""

    files_done: int
    bytes_done: int
    bytes_total: int | None = None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class SaveResult:
    """A save that is in the store. ``bytes_total`` is the world's size, ``bytes_new`` what was sent for it (encrypted
    and compressed); ``vanished`` are paths (at most 50) that somebody removed while they were being read."""

    snapshot_id: str
    bytes_total: int
    bytes_new: int
    files: int
    seconds: float
    vanished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A save as the store knows it."""

    snapshot_id: str
    at: datetime
    tags: tuple[str, ...]


class FileKind(StrEnum):
    """What an entry of a save is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One entry of a folder in a save. ``path`` starts with a slash, which stands for the world's root; ``size`` is in
    bytes and 0 for what is no file."""

    path: str
    kind: FileKind
    size: int
    mode: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class RepositorySize:
    """``bytes_stored`` is what the store keeps (and, on B2, charges for); ``bytes_used`` is the part of it that saves
    still need: a prune frees the rest. Both are exact to about a thousandth."""

    bytes_stored: int
    bytes_used: int


class SaveStore(ABC):
    """Keeps snapshots of folders, and gives them back. Holds no state between calls but a cache that may be lost."""

    @abstractmethod
    async def ensure_repository(self, repository: Repository, *, may_make: bool, deadline: timedelta = QUICK) -> None:
        """*Writes.* The repository is there and its password opens it.

        Made if it is missing and ``may_make``; otherwise a missing one raises ``SaveStoreRefused`` (``NoRepository``).
        Say ``may_make`` only for a server that never had a save: a bucket that was emptied must not look like a new
        one. Safe to call twice, and after it was killed in the middle.
        """

    @abstractmethod
    async def save(
        self,
        repository: Repository,
        source: Path,
        *,
        tags: Sequence[str] = (),
        excludes: Sequence[str] = (),
        at: datetime | None = None,
        parent: str | None = None,
        progress: OnProgress | None = None,
        deadline: timedelta = LONG,
        holds_lease: bool = False,
    ) -> SaveResult:
        """*Writes.* Everything below the folder ``source`` is in the store, as it was read: files are read one after
        another, so a game that writes meanwhile must be quieted first.

        ``excludes``: patterns relative to the root; ``/logs`` is the one at the top, ``logs`` any, ``*.jar`` and
        ``/cache/**/tmp`` as one expects. ``at`` is written as the save's time (None: now). ``parent`` is the snapshot
        that tells which files did not change (None: the newest of the repository, whatever it is of).

        The owner and mode of ``source`` itself are not kept. Links are kept as links and never followed. Raises
        ``SaveIncomplete`` if files could not be read; files that vanished meanwhile are no error.
        """

    @abstractmethod
    async def restore(
        self,
        repository: Repository,
        snapshot_id: str,
        target: Path,
        *,
        include: Sequence[str] = (),
        progress: OnProgress | None = None,
        deadline: timedelta = LONG,
    ) -> None:
        """*Reads.* The folder ``target`` holds the save, exactly, and it is on the disk (synced).

        ``target`` does not exist or is empty, and nobody but the caller may reach into it meanwhile. With ``include``
        only those files and folders (with all below them), each at its own path below ``target``, with the folders
        that lead there. ``NoSuchSave`` if one of them is not in the save. When it raised, what is in ``target`` is
        nothing: the caller removes it. Holes in files are made anew. As root, owners are those of the save.
        """

    @abstractmethod
    async def list_files(
        self,
        repository: Repository,
        snapshot_id: str,
        folder: str = "/",
        *,
        most: int = MOST_LISTED,
        deadline: timedelta = QUICK,
    ) -> tuple[SavedFile, ...]:
        """*Reads.* What is directly in ``folder``, by name. ``NoSuchSave`` if there is no such folder, BadInput if it
        has more than ``most`` entries, none of which is kept in memory beyond that."""

    @abstractmethod
    async def find_file(
        self, repository: Repository, snapshot_id: str, path: str, *, deadline: timedelta = QUICK
    ) -> SavedFile | None:
        """*Reads.* What is at ``path``, however much lies beside it or in it; None if nothing is."""

    @abstractmethod
    def dump(
        self,
        repository: Repository,
        snapshot_id: str,
        path: str,
        *,
        archive: Literal["zip", "tar"] | None = None,
        deadline: timedelta = LONG,
    ) -> AsyncGenerator[bytes, None]:
        """*Reads.* The bytes of one file, or with ``archive`` a folder (``/``: all), as they come from the store.

        Close it (``contextlib.aclosing``) to stop early. Errors can come after the first bytes: whoever passes them on
        must then break the connection off rather than end it, or half a file looks whole.
        """

    @abstractmethod
    async def snapshots(self, repository: Repository, *, deadline: timedelta = QUICK) -> tuple[Snapshot, ...]:
        """*Reads.* Every snapshot, oldest first. ``RepositoryDamaged`` if one of them cannot be read."""

    @abstractmethod
    async def retag(
        self,
        repository: Repository,
        snapshot_id: str,
        tags: Sequence[str],
        *,
        deadline: timedelta = QUICK,
        holds_lease: bool = False,
    ) -> str:
        """*Writes.* These are the snapshot's tags; returns the id that it has since. Killed in the middle it may be
        there twice, under both ids. ``NoSuchSave`` if there is none."""

    @abstractmethod
    async def forget(
        self,
        repository: Repository,
        snapshot_ids: Sequence[str],
        *,
        deadline: timedelta = QUICK,
        holds_lease: bool = False,
    ) -> None:
        """*Writes.* None of these snapshots is there any more. Those that were gone already are no error, so it is
        safe to call twice. What only they needed stays in the store until ``prune``."""

    @abstractmethod
    async def prune(
        self,
        repository: Repository,
        *,
        waste_percent: int = 10,
        deadline: timedelta = LONG,
        holds_lease: bool = False,
    ) -> None:
        """*Writes.* What no save needs is gone from the store, but for at most ``waste_percent`` of what is left,
        which would cost more to sort out than to keep. Killed in the middle it has lost nothing; call it again."""

    @abstractmethod
    async def check(
        self,
        repository: Repository,
        *,
        subset: tuple[int, int] | None = None,
        deadline: timedelta = LONG,
        holds_lease: bool = False,
    ) -> None:
        """*Writes* (it takes a lock). The repository is whole: every part that a save needs is there. With ``subset``
        ``(n, t)`` the n-th (from 1) of t equal parts of the data was also read and was what had been written: t calls
        read all of it. Raises ``RepositoryDamaged`` with the first thing found."""

    @abstractmethod
    async def unlock_stale(self, repository: Repository, *, holds_lease: bool, deadline: timedelta = QUICK) -> None:
        """*Writes.* No lock of a process that is gone is left. With ``holds_lease`` none at all: the caller states that
        by the lease nobody else can be at work. Without, only those that prove by themselves to be stale."""

    @abstractmethod
    async def size(self, repository: Repository, *, deadline: timedelta = QUICK) -> RepositorySize:
        """*Reads.* How large it is, and how much of that is waste. Lists the store: ask rarely, after a forget."""
