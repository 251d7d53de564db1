"""One server with its world in a cluster, a worker, and a store that pods reach by TLS."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.harness.commands import CommandFailed
from cluster.harness.image_builds import REGISTRY, TAG
from cluster.kube_stage import KubeStage
from cluster.rights import WORKER
from cluster.saver import MINUTE, Errand, drill, render
from cluster.world_stage import KubeWorldStage
from contract.test_engine import reaches
from overworld.domain.games import Game
from overworld.domain.observed import Phase
from overworld.engines.base import gather_answer
from overworld.engines.kube.names import steward_name
from overworld.saves.base import SaveResult
from overworld.saves.options import ResticOptions
from overworld.saves.program import find_restic
from overworld.saves.restic import Restic
from overworld.worker.snapshots import Compared, Part, Size, World
from overworld.worker.steward_snapshots import StewardSnapshots
from s3 import S3

PASSWORD = "the-password-of-its-repository"


class Savings:
    """See the module."""

    def __init__(self, stage: KubeStage, s3: S3, folder: Path) -> None:
        self.stage = stage
        self.s3 = s3
        stage.options = replace(stage.options, steward_image=f"{REGISTRY}/overworld:{TAG}")
        self.place = KubeWorldStage(stage, stage.want())
        self.world = World(self.place.server_id, 1, 1)
        self.repository = s3.location().repository(self.place.server_id, PASSWORD)
        self.store = Restic(find_restic(), folder / "cache")
        self.snapshots = StewardSnapshots(self.place.worker.stewards, ResticOptions())
        self.kubeconfig = stage.accounts.write(WORKER, folder / "worker.yaml")

    async def start(self, *, running: bool) -> None:
        """The server is there, its world empty, its repository made."""
        self.engine = await self.stage.engine()
        self.want = replace(self.place.want, running=running)
        self.launch = self.stage.launch(self.engine, self.want, "good")
        await self.engine.apply(self.want, self.launch)
        await self.store.ensure_repository(self.repository, may_make=True)
        if running:
            await reaches(self.engine, self.want, Phase.READY)
            await self.place.start()
        else:
            await self.place.worker.start(lambda _: None)

    async def fill(self, code: str, generation: int = 1) -> None:
        """Run it where the world is, as the game's user."""
        if self.want.running:
            await self.place.play(code)
        else:
            await self.tree(generation)  # so that there is a steward
            name = steward_name(self.place.server_id, generation)
            change = f"import os; os.chdir('/world')\n{code}"
            await asyncio.to_thread(self.stage.kubectl, "exec", name, "--", "/usr/bin/python3", "-I", "-c", change)

    async def save(self, **given: Any) -> SaveResult:
        """The world in the store."""
        values = {"excludes": (), "staged": (), "parent": None, "tags": ["t"], "deadline": MINUTE, **given}
        return await self.snapshots.save(self.world, self.repository, progress=lambda _: None, **values)

    async def restore(self, save: SaveResult, generation: int, part: Part | None = None) -> None:
        """That save, or that part of it, as another generation."""
        await self.snapshots.restore(
            replace(self.world, generation=generation),
            self.repository,
            save.snapshot_id,
            part=part,
            progress=lambda _: None,
            deadline=MINUTE,
        )

    async def tree(self, generation: int) -> list[dict[str, Any]]:
        """Everything in that generation."""
        request = {"verb": "tree", "hash": True}
        items, _ = await gather_answer(self.place.worlds.run(self.place.server_id, generation, request))
        return items

    async def drill(self, save: SaveResult, game: Game | None = None, size: Size | None = None) -> Compared:
        """That save proven against the present world, with that game on it; as large as ``size`` says."""
        found = size or Size(save.bytes_total, save.files)
        return await drill(self.snapshots, self.repository, self.world, save.snapshot_id, game, found)

    @asynccontextmanager
    async def worker_process(self, errand: Errand) -> AsyncIterator[asyncio.subprocess.Process]:
        """A worker on that errand; killed at the end of the block."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cluster.saver", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(render(self.kubeconfig, self.stage.options, self.repository, errand))
        await process.stdin.drain()
        try:
            yield process
        finally:
            process.kill()
            await process.wait()

    def programs(self, pod: str) -> str:
        """What runs in that pod's steward, once there is one."""
        look = "import glob; print([open(each).read() for each in glob.glob('/proc/[0-9]*/cmdline')])"
        command = ("exec", pod, "--container=steward", "--", "/usr/bin/python3", "-I", "-c", look)
        try:
            return self.stage.kubectl(*command)
        except CommandFailed:
            return ""
