"""What a job does to a world and the save store together: the seam between a machine's folders and a cluster's pods.

Whoever calls holds the lease of the world. Every method raises ``SaveError`` and ``EngineError``, and leaves nothing
half done that the same call would not put right.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import msgspec

from overworld.domain.errors import NotFound
from overworld.domain.games import Game
from overworld.domain.servers import Server, ServerId
from overworld.engines.base import WorldAccess, WorldAnswer, gather_answer
from overworld.saves.base import Progress, Repository, SaveResult

STAGING = ".overworld-save"
"""Folder in a world, while it is saved, for copies of its databases. In a save they lie there; a restore puts them
where they belong."""

STAGE_SECONDS = 300.0


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What the agent's ``tree`` tells of one entry, in a third of the memory: a worker holds two trees of up to half a
    million of them while it compares."""

    type: str
    mode: int
    target: str | None
    size: int
    sha256: bytes | None
    mtime_ns: int
    links: str | None


Tree = Mapping[str, Entry]
"""Entries by path."""

OnProgress = Callable[[Progress], None]


class NothingToSave(Exception):
    """There is nothing in the world, or nothing that is worth saving."""


@dataclass(frozen=True, slots=True)
class World:
    """One generation of a server's world. ``number`` is the server's, from which its user follows."""

    server_id: ServerId
    number: int
    generation: int


@dataclass(frozen=True, slots=True)
class Staged:
    """Databases copied by SQLite itself. ``faults`` says, path by path, which could not be, or are broken."""

    paths: tuple[str, ...]
    faults: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Compared:
    """What a drill found. ``files`` were restored, ``equal`` of them are known to be what was saved, because they are
    the same in the present world and did not change since; ``differences`` are sentences."""

    files: int
    equal: int
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Of a save only ``paths``; the rest is as in ``base_generation`` of the world, on which nothing runs."""

    paths: Sequence[str]
    base_generation: int


@dataclass(frozen=True, slots=True)
class Boot:
    """A game to be started on a restored copy, with the settings of that server."""

    server: Server
    game: Game


@dataclass(frozen=True, slots=True)
class Size:
    """Of a world when it was saved."""

    bytes: int
    files: int


class Snapshots(ABC):
    """Worlds into the store, and back. ``access`` leads to the files of the present ones."""

    works_here: ClassVar[bool]
    """Whether this machine does the work, and not whichever has the world."""

    def __init__(self, access: WorldAccess) -> None:
        self._access = access

    async def stage(self, world: World, patterns: Sequence[str]) -> Staged:
        """The world's databases are copied into ``STAGING``, each as it is at one moment."""
        request = {"verb": "sqlite", "staging": STAGING, "patterns": list(patterns), "seconds": STAGE_SECONDS}
        items, _ = await gather_answer(self._access.run(world.server_id, world.generation, request))
        return Staged(
            paths=tuple(item["path"] for item in items if item["ok"]),
            faults={item["path"]: item["says"] for item in items if not item["ok"]},
        )

    async def unstage(self, world: World) -> None:
        """``STAGING`` is gone. Safe to call twice."""
        request = {"verb": "delete", "path": STAGING, "recursive": True}
        with suppress(NotFound):
            await gather_answer(self._access.run(world.server_id, world.generation, request))

    async def present_tree(self, world: World, deadline: timedelta) -> Tree:
        """Everything in the world now, with the hashes of its files; nothing if it is not there."""
        if not await self.exists(world):
            return {}
        return await ask_tree(partial(self._access.run, world.server_id, world.generation), deadline)

    @abstractmethod
    async def save(
        self,
        world: World,
        repository: Repository,
        *,
        excludes: Sequence[str],
        staged: Sequence[str],
        parent: str | None,
        tags: Sequence[str],
        progress: OnProgress,
        deadline: timedelta,
    ) -> SaveResult:
        """The world in the store, without what ``excludes`` names, and with the copies of the ``staged`` databases
        instead of the files that the game has open. Raises NothingToSave."""

    @abstractmethod
    async def restore(
        self,
        world: World,
        repository: Repository,
        snapshot_id: str,
        *,
        part: Part | None = None,
        progress: OnProgress,
        deadline: timedelta,
    ) -> None:
        """``world``, a generation that nothing uses yet, is exactly that save, or that ``part`` of it. Until the end
        nobody takes what there is of it for a world. Safe to repeat."""

    @abstractmethod
    async def make_room(self, server: Server) -> None:
        """Where nothing is of a server, as in a recovery: its present world can be restored, on what its row says. Safe
        to repeat. Raises EngineRefused where that cannot be, with what to do instead."""

    @abstractmethod
    async def exists(self, world: World) -> bool:
        """Whether that generation is there, whole."""

    @abstractmethod
    async def remove(self, world: World) -> None:
        """Nothing is there of that generation. Only for one that never became the present one."""

    @abstractmethod
    async def drill(
        self,
        world: World,
        repository: Repository,
        snapshot_id: str,
        *,
        saved_at: float,
        is_still: bool,
        progress: OnProgress,
        deadline: timedelta,
        size: Size,
        boot: Boot | None,
    ) -> Compared:
        """The save restored to scratch and compared with the present ``world``: files that did not change since
        ``saved_at`` (seconds since 1970) are the same to the byte, and where the world ``is_still`` as it was saved
        everything is. With ``boot`` its game is moreover started on the copy, and answers. Nothing is left behind.

        Room is looked for by ``size``. That there is none is EngineUnavailable, never damage."""

    @abstractmethod
    async def sweep(self, read_busy: Callable[[], Awaitable[Collection[ServerId]]]) -> None:
        """Nothing is left of drills that died, nor any game that they started. Servers with a job in work, which
        ``read_busy`` tells, are left alone."""


async def ask_tree(ask: Callable[[Mapping[str, Any]], WorldAnswer], deadline: timedelta) -> Tree:
    """Everything where the agent is that answers ``ask``, with the hashes of its files."""
    found: dict[str, Entry] = {}
    async with aclosing(ask({"verb": "tree", "hash": True, "seconds": deadline.total_seconds()})) as answer:
        async for part in answer:
            if isinstance(part, dict):
                found[part["path"]] = read_entry(part)
    return found


def read_entry(item: Mapping[str, Any]) -> Entry:
    """One item of such an answer."""
    digest = item.get("sha256")
    return Entry(
        type=sys.intern(item["type"]),
        mode=item["mode"],
        target=item["target"],
        size=item["size"],
        sha256=None if digest is None else bytes.fromhex(digest),
        mtime_ns=item["mtime_ns"],
        links=item["links"],
    )
