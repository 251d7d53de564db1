"""The files of worlds in a cluster: an agent for each request, in the steward that has the world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from overworld.domain.servers import ServerId
from overworld.engines.agent_link import talk
from overworld.engines.base import WorldAccess, WorldAnswer
from overworld.engines.kube.launches import LAYOUT
from overworld.engines.kube.steward_pods import AGENT, PYTHON
from overworld.engines.kube.stewards import Stewards


class KubeWorlds(WorldAccess):
    """See ``WorldAccess``: the worlds of one engine's servers. Holds no state."""

    def __init__(self, stewards: Stewards) -> None:
        self._stewards = stewards

    async def run(
        self,
        server_id: ServerId,
        generation: int,
        request: Mapping[str, Any],
        body: AsyncIterator[bytes] | None = None,
    ) -> WorldAnswer:
        program = (*PYTHON, AGENT, str(request["verb"]))
        async with (
            self._stewards.run(server_id, generation, LAYOUT.world, program) as running,
            aclosing(talk(running, request, body)) as answer,
        ):
            async for part in answer:
                yield part

    async def make_world(self, server_id: ServerId, generation: int, *, like: int) -> None:
        if not self._stewards.exists(server_id, generation):
            await self._stewards.begin_world(server_id, generation, like=like)
            await self._stewards.finish_world(server_id, generation)
