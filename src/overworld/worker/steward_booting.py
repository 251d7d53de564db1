"""The last proof in a cluster: the game itself, started by its own image on a restored copy, answers a handshake."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from overworld.domain.errors import EngineUnavailable
from overworld.domain.games import Game
from overworld.domain.observed import Launch, Want
from overworld.domain.servers import Endpoint, spec_hash
from overworld.engines.kube.launches import LAYOUT
from overworld.engines.kube.scratch import Scratch
from overworld.games.launch import render_launch
from overworld.games.query import can_probe
from overworld.games.query.beside import HOST, read_verdict, render_question
from overworld.worker.boot_verdicts import ANSWER_SECONDS, TRIES, does_not_answer, does_not_start, was_not_ready
from overworld.worker.snapshots import Boot

ASKING = ("/opt/overworld/bin/python", "-I", "-m", "overworld.games.query.beside")
"""Where Overworld's image has it. It waits for its question: while it does, its steward is not idle."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A game as it is begun in a drill's pod."""

    game: Game
    want: Want
    launch: Launch


def render_begun(boot: Boot) -> Begun:
    """The game as in the server's own pod, at its own ports; at an address that is no server's."""
    server, game = boot.server, boot.game
    endpoints = tuple(Endpoint(port.name, port.protocol, HOST, port.default) for port in game.ports)
    want = Want(
        server_id=server.id,
        number=server.number,
        running=True,
        restarts=0,
        spec_hash=spec_hash(server, game, endpoints),
        world_generation=server.world_generation,
        memory_mib=server.memory_mib,
        endpoints=endpoints,
        may_make_world=False,
    )
    return Begun(game, want, render_launch(game, server, LAYOUT, endpoints))


async def begin(scratch: Scratch, begun: Begun) -> None:
    """The game started on what was restored there; returns once it said that players can join and answered.

    Raises RepositoryDamaged with its last words if it does not come up, EngineUnavailable and EngineRefused where it
    was not the game that failed.
    """
    game = begun.game
    await scratch.begin_game(begun.want, begun.launch)
    async with scratch.run(LAYOUT.world, ASKING) as asking:
        try:
            end = await scratch.await_game(game.ready.within)
        except TimeoutError as error:
            raise was_not_ready(game) from error
        if end is not None:
            raise does_not_start(game, end)
        if not can_probe(game):
            return
        await asking.write(render_question(game, seconds=ANSWER_SECONDS, tries=TRIES))
        try:
            async with asyncio.timeout((TRIES + 1) * ANSWER_SECONDS):
                says = read_verdict(await asking.readline())
        except (TimeoutError, ValueError) as error:
            raise EngineUnavailable("Whoever was to ask the game on the restored world did not answer.") from error
        if says is not None:
            raise does_not_answer(says)
