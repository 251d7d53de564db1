"""The stage of the contract of world access in a cluster: a running game, and whoever asks as the worker."""

from __future__ import annotations

import asyncio

from cluster.harness.commands import CommandFailed
from cluster.kube_stage import KubeStage
from cluster.rights import WORKER
from contract.worlds import WorldStage
from overworld.domain.observed import Want
from overworld.engines.kube.agents import KubeWorlds
from overworld.engines.kube.engine import KubeEngine
from overworld.engines.kube.names import steward_name


class KubeWorldStage(WorldStage):
    """A game that runs, and a worker with the chart's rights for it."""

    def __init__(self, stage: KubeStage, want: Want) -> None:
        self.stage = stage
        self.want = want
        self.server_id = want.server_id
        self.worker = KubeEngine(stage.accounts.config(WORKER), stage.options, observe_only=True)
        self.worlds = KubeWorlds(self.worker.stewards)

    async def start(self) -> None:
        """Returns once the worker has seen the game; its world is empty."""
        await self.worker.start(lambda _: None)
        await self.play(
            "import shutil; [shutil.rmtree(x) if os.path.isdir(x) and not os.path.islink(x) else "
            "os.unlink(x) for x in os.listdir()]"
        )

    async def close(self) -> None:
        """The worker is gone."""
        await self.worker.close()

    async def play(self, code: str, *, generation: int = 1) -> str:
        if generation == self.want.world_generation:
            where = (f"deployment/{self.server_id}", "--container=game")
        else:
            where = (steward_name(self.server_id, generation), "--container=steward")
        change = f"import os; os.chdir('/world')\n{code}"
        command = ("exec", *where, "--", "/usr/bin/python3", "-I", "-c", change)
        return await asyncio.to_thread(self.stage.kubectl, *command)

    async def has_agents(self) -> bool:
        look = (
            "import glob; own = open('/proc/self/cmdline').read(); said = [open(each).read() for each in "
            "glob.glob('/proc/[0-9]*/cmdline')]; print(any('agent.py' in one for one in said if one != own))"
        )
        where = ("exec", f"deployment/{self.server_id}", "--container=steward", "--", "/usr/bin/python3", "-I", "-c")
        try:
            return (await asyncio.to_thread(self.stage.kubectl, *where, look)).strip() == "True"
        except CommandFailed:  # one ended while it was looked at
            return True
