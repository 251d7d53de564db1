"""``Snapshots`` where worlds are volumes of a cluster: errands (``errands.py``) in the stewards that have them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any

from overworld.domain.errors import (
    DiskFull,
    EngineRefused,
    EngineUnavailable,
    NoSuchSave,
    OverworldError,
    RepositoryDamaged,
    RepositoryLocked,
    SaveCancelled,
    SaveDeadline,
    SaveError,
    SaveStoreRefused,
    SaveStoreUnavailable,
)
from overworld.domain.servers import Server, ServerId
from overworld.domain.worlds import Storage
from overworld.engines.agent_link import read_answer, render_request, talk
from overworld.engines.base import Done
from overworld.engines.kube.agents import KubeWorlds
from overworld.engines.kube.exec import Exec
from overworld.engines.kube.launches import LAYOUT
from overworld.engines.kube.scratch_pods import render_drill, render_scratch
from overworld.engines.kube.steward_pods import AGENT, BASE, PYTHON
from overworld.engines.kube.stewards import Stewards
from overworld.saves.base import Progress, Repository, SaveResult
from overworld.saves.options import ResticOptions
from overworld.worker.comparing import compare
from overworld.worker.errands import render_options, render_repository
from overworld.worker.snapshots import Boot, Compared, NothingToSave, OnProgress, Part, Size, Snapshots, World, ask_tree
from overworld.worker.steward_booting import begin, render_begun

ERRANDS = ("/opt/overworld/bin/python", "-I", "-m", "overworld.worker.errands")
"""Where the image has it."""
GRACE_SECONDS = 12.0
"""For restic to remove its lock from the store."""
SILENCE_SECONDS = 60.0
"""An errand gives a sign of life every 5 s."""
BLOCK_BYTES = 4096
SPARE_SECONDS = 120.0
"""Beyond its deadline, for what is done around restic."""

_ERRORS: Mapping[str, type[OverworldError]] = {
    kind.__name__: kind
    for kind in (
        SaveStoreUnavailable, RepositoryDamaged, RepositoryLocked, NoSuchSave, SaveCancelled, SaveDeadline, DiskFull,
        SaveError, EngineUnavailable,
    )
}  # fmt: skip


class StewardSnapshots(Snapshots):
    """By restic beside each world. What travels there, it is told on standard input."""

    works_here = False

    def __init__(self, stewards: Stewards, options: ResticOptions) -> None:
        super().__init__(KubeWorlds(stewards))
        self._stewards = stewards
        self._options = options

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
        request = {
            "errand": "save",
            "excludes": list(excludes),
            "staged": list(staged),
            "parent": parent,
            "tags": list(tags),
        }
        steward = self._stewards.run(
            world.server_id, world.generation, LAYOUT.world, ERRANDS, grace_seconds=GRACE_SECONDS
        )
        done = await self._send(steward, request, repository, progress, deadline)
        if done["result"] is None:
            raise NothingToSave
        return SaveResult(**{**done["result"], "vanished": tuple(done["result"]["vanished"])})

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
        if await self.exists(world):
            return
        base_generation = None if part is None else part.base_generation
        await self._stewards.begin_world(world.server_id, world.generation, like=base_generation)
        steward = self._stewards.run(
            world.server_id,
            world.generation,
            LAYOUT.world,
            ERRANDS,
            base_generation=base_generation,
            grace_seconds=GRACE_SECONDS,
        )
        await self._send(steward, _render_restore(snapshot_id, part), repository, progress, deadline)
        await self._stewards.finish_world(world.server_id, world.generation)

    async def make_room(self, server: Server) -> None:
        if server.storage is Storage.SHARE and not self._stewards.is_tidied:
            # Its folder is the cloud's, which only the controller asks.
            raise EngineRefused(
                "WorldInShare",
                "its world lies in a share, in which only a running controller makes folders: once all is started,"
                f" `overworld restore {server.id} latest` brings it back. What is still in the share stays there.",
            )
        await self._stewards.begin_lost_world(server)

    async def exists(self, world: World) -> bool:
        return self._stewards.exists(world.server_id, world.generation)

    async def remove(self, world: World) -> None:
        await self._stewards.give_up_world(world.server_id, world.generation)

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
        # First: the pod of the drill would end of idleness while this takes long.
        present = await self.present_tree(world, deadline)
        room, options = _room_mib(size), self._stewards.options
        begun = None if boot is None else render_begun(boot)
        if begun is None:
            pod = render_scratch(world.server_id, room, options)
        else:
            pod = render_drill(begun.want, begun.launch, room, options)
        async with self._stewards.scratch(pod) as scratch:
            restoring = scratch.run(LAYOUT.world, ERRANDS, grace_seconds=GRACE_SECONDS)
            try:
                done = await self._send(restoring, _render_restore(snapshot_id, None), repository, progress, deadline)
            except DiskFull as error:
                raise EngineUnavailable("The disk of the node that the save was restored on is full.") from error
            async with scratch.run(LAYOUT.world, (*PYTHON, AGENT, "tree")) as running:
                restored = await ask_tree(partial(talk, running), deadline)
            compared = compare(restored, present, saved_at=saved_at, is_still=is_still, besides=done["settled"])
            if begun is not None and not compared.differences:
                await begin(scratch, begun)
            return compared

    async def sweep(self, read_busy: Callable[[], Awaitable[Collection[ServerId]]]) -> None:
        """There is nothing: stewards end when nobody wants them, and the controller removes what is left of them."""

    async def _send(
        self,
        steward: AbstractAsyncContextManager[Exec],
        request: Mapping[str, Any],
        repository: Repository,
        progress: OnProgress,
        deadline: timedelta,
    ) -> Mapping[str, Any]:
        """What the errand brought back. Raises what its error stands for."""
        seconds = deadline.total_seconds()
        rendered = await asyncio.to_thread(render_repository, repository)
        common = {"repository": rendered, "options": render_options(self._options), "seconds": seconds}
        async with steward as running:
            try:
                async with asyncio.timeout(seconds + SPARE_SECONDS) as clock:
                    await running.write(render_request({**request, **common}))
                    return await _listen(running, progress)
            except TimeoutError as error:
                if clock.expired():
                    raise SaveDeadline(f"It took longer than {seconds:g} s and was ended; try again.") from error
                raise EngineUnavailable("Nothing is heard any more of what was begun at the world.") from error


def _room_mib(size: Size) -> int:
    """For a world that is as large as its save says, each of its files in whole blocks, and what a game adds."""
    return 256 + (size.bytes + size.files * BLOCK_BYTES) * 5 // 4 // 2**20


def _render_restore(snapshot_id: str, part: Part | None) -> dict[str, Any]:
    paths, base = ([], None) if part is None else (list(part.paths), BASE)
    return {"errand": "restore", "snapshot_id": snapshot_id, "paths": paths, "base": base}


async def _listen(running: Exec, progress: OnProgress) -> Mapping[str, Any]:
    answer = read_answer(running, _explain)
    while True:
        async with asyncio.timeout(SILENCE_SECONDS):
            part = await anext(answer)
        if isinstance(part, Done):
            return part.content
        if isinstance(part, dict) and part:
            progress(Progress(**part))


def _explain(content: Mapping[str, Any]) -> OverworldError:
    code, says, reason = str(content.get("code")), str(content.get("says")), str(content.get("reason"))
    if code == SaveStoreRefused.__name__:
        return SaveStoreRefused(reason, says)
    if code == EngineRefused.__name__:
        return EngineRefused(reason, says, retry_after=None)
    return _ERRORS.get(code, SaveError)(says)
