"""The files of worlds in a cluster: an agent for each request, in the steward that has the world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from overworld.domain.errors import EngineUnavailable
from overworld.domain.servers import ServerId
from overworld.engines import agent
from overworld.engines.agent_link import read_answer, render_body, render_request
from overworld.engines.base import WorldAccess, WorldAnswer
from overworld.engines.kube.exec import Exec
from overworld.engines.kube.launches import LAYOUT
from overworld.engines.kube.steward_pods import AGENT, PYTHON
from overworld.engines.kube.stewards import Stewards

LATE_SECONDS = 5.0
"""The agent ends itself when its time is over; whoever waits for one that cannot, waits this much longer."""


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


async def talk(running: Exec, request: Mapping[str, Any], body: AsyncIterator[bytes] | None = None) -> WorldAnswer:
    """The answer of an agent that was begun, to that request."""
    clock = asyncio.get_running_loop()
    late_at = clock.time() + float(request.get("seconds", agent.SECONDS)) + LATE_SECONDS
    feeding = asyncio.create_task(_feed(running, request, body))
    try:
        async with aclosing(read_answer(running)) as answer:  # type: ignore[type-var]
            while True:
                try:
                    async with asyncio.timeout_at(late_at):
                        part = await anext(answer)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise EngineUnavailable("The agent at the world does not answer.") from error
                yield part
    finally:
        feeding.cancel()
        with suppress(BaseException):  # what it raised is in the answer: a body that failed is cut off
            await feeding


async def _feed(running: Exec, request: Mapping[str, Any], body: AsyncIterator[bytes] | None) -> None:
    try:
        await running.write(render_request(request))
        if body is not None:
            async with aclosing(render_body(body)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    await running.write(piece)
    except ConnectionError:
        return  # it has ended, and says why
    except Exception:
        await running.end_input()  # the body failed: the agent drops what it has, and says so
