"""The last proof: the game itself, started on a restored copy by an engine of its own, answers a handshake."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from time import monotonic

from overworld.domain.errors import EngineRefused
from overworld.domain.games import Game, Protocol, Ready, Stop
from overworld.domain.observed import Launch, Phase, Want
from overworld.domain.servers import Endpoint, Server, ServerId, spec_hash
from overworld.engines.local.engine import LocalEngine
from overworld.games.launch import render_launch
from overworld.games.query import QueryFailed, can_probe, probe
from overworld.worker.boot_verdicts import ANSWER_SECONDS, TRIES, does_not_answer, does_not_start, was_not_ready

HOST = "127.0.0.1"
LOOK_SECONDS = 0.2
STOPPED_WITHIN_SECONDS = 120.0


async def boot(servers: Path, generation: int, server: Server, game: Game, programs_folder: Path | None) -> None:
    """The game of ``server`` started on that generation below ``servers``, a folder of scratch; returns once it said
    that players can join and answered, and has ended again.

    It listens on ports that nobody is told of. Raises RepositoryDamaged with its last words if it does not come up,
    EngineRefused where it cannot be started at all, EngineUnavailable for a passing fault.
    """
    engine = LocalEngine(servers)
    endpoints = tuple(Endpoint(port.name, port.protocol, HOST, _free_port(port.protocol)) for port in game.ports)
    launch = render_launch(
        game, server, engine.layout(server.id, generation), endpoints, programs_folder=programs_folder
    )

    def want(*, running: bool) -> Want:
        return Want(
            server_id=server.id,
            number=server.number,
            running=running,
            restarts=0,
            spec_hash=spec_hash(server, game, endpoints),
            world_generation=generation,
            memory_mib=server.memory_mib,
            endpoints=endpoints,
            may_make_world=False,
        )

    await engine.start(lambda _: None)
    try:
        await engine.apply(want(running=True), launch)
        await _await_ready(engine, server, game)
        if can_probe(game):
            await _await_answer(game, endpoints)
    finally:
        try:
            await asyncio.shield(_stop(engine, want(running=False), launch))
        finally:
            await engine.close()


async def stop_left(servers: Path, server_id: ServerId) -> None:
    """What a drill that died has started below ``servers`` for that server runs no more."""
    engine = LocalEngine(servers)
    await engine.start(lambda _: None)
    try:
        wish = Want(server_id, 0, False, 0, "", 0, 0, ())
        nothing = Launch((), (), {}, {}, Stop(), Ready(""), None, False, None, "")
        await _stop(engine, wish, nothing)
    finally:
        await engine.close()


async def _await_ready(engine: LocalEngine, server: Server, game: Game) -> None:
    give_up_at = monotonic() + game.ready.within.total_seconds()
    while True:
        process = engine.observed(server.id).process
        if process is not None and process.phase is Phase.READY:
            return
        if process is not None and process.phase in {Phase.WAITING, Phase.STOPPED} and process.last_exit is not None:
            raise does_not_start(game, process.last_exit)
        if monotonic() > give_up_at:
            raise was_not_ready(game)
        await asyncio.sleep(LOOK_SECONDS)


async def _await_answer(game: Game, endpoints: tuple[Endpoint, ...]) -> None:
    for attempt in range(1, TRIES + 1):
        try:
            await probe(game, endpoints, ANSWER_SECONDS, host=HOST)
            return
        except QueryFailed as error:
            if attempt == TRIES:
                raise does_not_answer(error.detail) from error


async def _stop(engine: LocalEngine, wish: Want, launch: Launch) -> None:
    give_up_at = monotonic() + STOPPED_WITHIN_SECONDS
    while monotonic() < give_up_at:
        await engine.apply(wish, launch)
        process = engine.observed(wish.server_id).process
        if process is None or process.phase is Phase.STOPPED:
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise EngineRefused("DrillHangs", "A game that was started to prove a save does not end; its keeper kills it.")


def _free_port(protocol: Protocol) -> int:
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probing:
        probing.bind((HOST, 0))
        return int(probing.getsockname()[1])
