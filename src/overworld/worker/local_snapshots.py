"""``Snapshots`` where worlds are folders of this machine."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath

from overworld.domain.errors import EngineRefused, NoSuchSave, NotFound, SaveError
from overworld.domain.servers import ServerId
from overworld.engines import agent
from overworld.engines.base import WorldAccess, gather_answer
from overworld.engines.local.folders import remove_tree
from overworld.engines.local.generations import Generations
from overworld.saves.base import Repository, SaveResult, SaveStore
from overworld.worker import booting
from overworld.worker.comparing import Tree, compare, read_tree
from overworld.worker.snapshots import STAGING, Boot, Compared, NothingToSave, OnProgress, Snapshots, Staged, World
from overworld.worker.threads import in_thread

STAGE_SECONDS = 300.0
EMPTY = "snapshot is empty"
"""How restic refuses a save of nothing."""
DRILL = 1
"""The generation, in scratch, that a drill restores."""
SIDE_FILES = ("-wal", "-shm", "-journal")


class LocalSnapshots(Snapshots):
    """By restic on the folders themselves; databases through the agent, as the server's own user. ``scratch`` is a
    folder for drills."""

    def __init__(
        self,
        store: SaveStore,
        generations: Generations,
        access: WorldAccess,
        scratch: Path,
        programs_folder: Path | None = None,
    ) -> None:
        self._store = store
        self._generations = generations
        self._access = access
        self._scratch = scratch
        self._programs_folder = programs_folder

    async def stage(self, world: World, patterns: Sequence[str]) -> Staged:
        request = {"verb": "sqlite", "staging": STAGING, "patterns": list(patterns), "seconds": STAGE_SECONDS}
        items, _ = await gather_answer(self._access.run(world.server_id, world.generation, request))
        return Staged(
            paths=tuple(item["path"] for item in items if item["ok"]),
            faults={item["path"]: item["says"] for item in items if not item["ok"]},
        )

    async def unstage(self, world: World) -> None:
        request = {"verb": "delete", "path": STAGING, "recursive": True}
        with suppress(NotFound):
            await gather_answer(self._access.run(world.server_id, world.generation, request))

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
        # What is being written by an edit, and the files that a copy stands for.
        left_out = ["/" + pattern.lstrip("/") for pattern in excludes] + [".overworld-*.part"]
        if not staged:
            left_out.append(f"/{STAGING}")
        for path in staged:
            left_out += [f"/{_literal(path)}{side}" for side in ("", *SIDE_FILES)]
        try:
            return await self._store.save(
                repository,
                self._generations.path(world.server_id, world.generation),
                tags=tags,
                excludes=left_out,
                parent=parent,
                progress=progress,
                deadline=deadline,
                holds_lease=True,
            )
        except SaveError as error:
            if EMPTY in error.detail:
                raise NothingToSave from error
            raise

    async def restore(
        self,
        world: World,
        repository: Repository,
        snapshot_id: str,
        *,
        progress: OnProgress,
        deadline: timedelta,
    ) -> None:
        if not await self.exists(world):
            folder = await in_thread(self._generations.make, world.server_id, world.generation)
            await self._store.restore(repository, snapshot_id, folder, progress=progress, deadline=deadline)
            await in_thread(settle_staged, folder)
        await in_thread(self._generations.hand_over, world.server_id, world.generation, world.number)

    async def restore_paths(
        self,
        world: World,
        base_generation: int,
        repository: Repository,
        snapshot_id: str,
        paths: Sequence[str],
        *,
        progress: OnProgress,
        deadline: timedelta,
    ) -> None:
        if not await self.exists(world):
            include = await self._find_in_save(repository, snapshot_id, paths)
            folder = await in_thread(self._generations.make, world.server_id, world.generation)
            part = folder.parent / "part"
            await self._store.restore(
                repository, snapshot_id, part, include=include, progress=progress, deadline=deadline
            )
            await in_thread(settle_staged, part)
            await in_thread(self._generations.copy, world.server_id, base_generation, folder)
            await in_thread(put_in_place, part, folder, paths)
        await in_thread(self._generations.hand_over, world.server_id, world.generation, world.number)

    async def exists(self, world: World) -> bool:
        return await in_thread(self._generations.is_there, world.server_id, world.generation)

    async def remove(self, world: World) -> None:
        await in_thread(self._generations.remove, world.server_id, world.generation)

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
        boot: Boot | None,
    ) -> Compared:
        # A room of its own, entered by nobody else, with an engine of its own that starts nothing but this copy.
        generations = Generations(self._scratch)
        await in_thread(_make_scratch, self._scratch, world.server_id)
        try:
            copy = await in_thread(generations.make, world.server_id, DRILL)
            await self._store.restore(repository, snapshot_id, copy, progress=progress, deadline=deadline)
            staged = await in_thread(settle_staged, copy)
            restored = await in_thread(read_tree, copy)
            present: Tree = {}
            if await self.exists(world):
                request = {"verb": "tree", "hash": True, "seconds": deadline.total_seconds()}
                items, _ = await gather_answer(self._access.run(world.server_id, world.generation, request))
                present = {item["path"]: item for item in items}
            compared = compare(restored, present, saved_at=saved_at, is_still=is_still, besides=staged)
            if boot is not None and not compared.differences:
                await in_thread(generations.hand_over, world.server_id, DRILL, world.number)
                await booting.boot(self._scratch, DRILL, boot.server, boot.game, self._programs_folder)
            return compared
        finally:
            await asyncio.shield(in_thread(remove_tree, self._scratch / world.server_id))

    async def sweep(self, read_busy: Callable[[], Awaitable[Collection[ServerId]]]) -> None:
        def look() -> list[str]:
            with suppress(FileNotFoundError):
                return [each.name for each in self._scratch.iterdir() if each.is_dir()]
            return []

        left = await in_thread(look)  # looked for before it is asked who is at work: what begins later is safe
        busy = await read_busy() if left else ()
        for server_id in left:
            if server_id in busy:
                continue
            await booting.stop_left(self._scratch, server_id)
            await in_thread(remove_tree, self._scratch / server_id)

    async def _find_in_save(self, repository: Repository, snapshot_id: str, paths: Sequence[str]) -> list[str]:
        """Where the paths are in the save: themselves, and the databases in or at them in ``STAGING``."""
        include: list[str] = []
        for path in paths:
            found = [
                place for place in (path, f"{STAGING}/{path}") if await self._is_in_save(repository, snapshot_id, place)
            ]
            if not found:
                raise NoSuchSave(f"There is no {path} in the save.")
            include += [f"/{place}" for place in found]
        return include

    async def _is_in_save(self, repository: Repository, snapshot_id: str, path: str) -> bool:
        try:
            files = await self._store.list_files(repository, snapshot_id, f"/{PurePosixPath(path).parent}".rstrip("."))
        except NoSuchSave:
            return False
        return any(file.path == f"/{path}" for file in files)


def settle_staged(folder: Path) -> tuple[str, ...]:
    """The copies of databases put where they belong, over whatever is there; their paths. What is in ``folder`` is
    hostile: no link in it is followed. Nobody else can reach into it meanwhile."""
    settled: list[str] = []
    with _refusals(), agent.opened(os.open(folder, agent.FOLDER_FLAGS)) as root:
        try:
            if not stat.S_ISDIR(agent.look(root, STAGING.encode()).st_mode):
                return ()
        except FileNotFoundError:
            return ()
        with agent.folder_at(root, [STAGING.encode()]) as staging:
            found = [path for _, _, path, seen in agent.walk(staging) if stat.S_ISREG(seen.st_mode)]
            for path in found:
                above, name = agent.named(path.split(b"/"))
                with agent.folder_at(staging, above) as source, agent.folder_at(root, above, make=True) as target:
                    _clear(target, name)
                    agent.move(source, name, target, name, replace=True)
                settled.append(agent.show_name(path))
        agent.remove_tree(root, STAGING.encode())
    return tuple(settled)


def put_in_place(source: Path, target: Path, paths: Sequence[str]) -> None:
    """Each of ``paths`` below ``target`` is what it is below ``source``, whatever was there; no link is followed."""
    with (
        _refusals(),
        agent.opened(os.open(source, agent.FOLDER_FLAGS)) as here,
        agent.opened(os.open(target, agent.FOLDER_FLAGS)) as there,
    ):
        for path in paths:
            above, name = agent.named(agent.split_path(agent.read_name(path)))
            with agent.folder_at(here, above) as old, agent.folder_at(there, above, make=True) as new:
                _clear(new, name)
                agent.move(old, name, new, name, replace=True)


def _clear(folder: int, name: bytes) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(agent.look(folder, name).st_mode):
            agent.remove_tree(folder, name)
        else:
            os.unlink(name, dir_fd=folder)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the agent's own functions refuse, as the engine does."""
    try:
        yield
    except agent.Refusal as error:
        raise EngineRefused("WorldOdd", error.says, retry_after=None) from error


def _literal(path: str) -> str:
    """The path as a pattern that matches nothing else."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path.replace("\\", "\\\\"))


def _make_scratch(root: Path, server_id: str) -> None:
    """Folders through which a game of any user comes to its own world, and sees no other's."""
    for folder in (root, root / server_id, root / server_id / "world"):
        folder.mkdir(mode=0o711, exist_ok=True)
    remove_tree(root / server_id / "world")
    (root / server_id / "world").mkdir(mode=0o711)
