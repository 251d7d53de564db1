"""``Snapshots`` where worlds are folders of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from overworld.domain.servers import Server, ServerId
from overworld.engines.base import WorldAccess
from overworld.engines.local.folders import remove_tree
from overworld.engines.local.generations import Generations
from overworld.saves.base import Repository, SaveResult, SaveStore
from overworld.worker import booting
from overworld.worker.comparing import compare, read_tree
from overworld.worker.placing import find_in_save, left_out, nothing_to_save, put_in_place, settle_staged
from overworld.worker.snapshots import Boot, Compared, OnProgress, Part, Size, Snapshots, World
from overworld.worker.threads import in_thread

DRILL = 1
"""The generation, in scratch, that a drill restores."""


class LocalSnapshots(Snapshots):
    """By restic on the folders themselves; databases through the agent, as the server's own user. ``scratch`` is a
    folder for drills."""

    works_here = True

    def __init__(
        self,
        store: SaveStore,
        generations: Generations,
        access: WorldAccess,
        scratch: Path,
        programs_folder: Path | None = None,
    ) -> None:
        super().__init__(access)
        self._store = store
        self._generations = generations
        self._scratch = scratch
        self._programs_folder = programs_folder

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
        with nothing_to_save():
            return await self._store.save(
                repository,
                self._generations.path(world.server_id, world.generation),
                tags=tags,
                excludes=left_out(excludes, staged),
                parent=parent,
                progress=progress,
                deadline=deadline,
                holds_lease=True,
            )

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
        if not await self.exists(world):
            include = () if part is None else await find_in_save(self._store, repository, snapshot_id, part.paths)
            folder = await in_thread(self._generations.make, world.server_id, world.generation)
            target = folder if part is None else folder.parent / "part"
            await self._store.restore(
                repository, snapshot_id, target, include=include, progress=progress, deadline=deadline
            )
            await in_thread(settle_staged, target)
            if part is not None:
                await in_thread(self._generations.copy, world.server_id, part.base_generation, folder)
                await in_thread(put_in_place, target, folder, part.paths)
        await in_thread(self._generations.hand_over, world.server_id, world.generation, world.number)

    async def make_room(self, server: Server) -> None:
        await in_thread(self._generations.make_place, server.id, server.number)

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
        size: Size,
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
            present = await self.present_tree(world, deadline)
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


def _make_scratch(root: Path, server_id: str) -> None:
    """Folders through which a game of any user comes to its own world, and sees no other's."""
    for folder in (root, root / server_id, root / server_id / "world"):
        folder.mkdir(mode=0o711, exist_ok=True)
    remove_tree(root / server_id / "world")
    (root / server_id / "world").mkdir(mode=0o711)
