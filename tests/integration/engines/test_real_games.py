"""Real games of the catalogue on the local engine: ready, save seen, the same world again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contract.stages import LocalStage
from contract.test_engine import last_exit, reaches
from installation import free_port
from overworld.domain.observed import Phase
from overworld.domain.servers import Desired, Endpoint, Server
from overworld.games.catalogue import Catalogue
from overworld.games.launch import render_announcement, render_launch
from waiting import eventually

REAL = {
    "luanti": "/usr/lib/minetest/minetestserver",
    "openarena": "/usr/games/openarena-server",
    "openttd": "/usr/games/openttd",
}


@pytest.mark.parametrize("slug", list(REAL))
async def test_a_real_game_runs_saves_and_comes_back(local: LocalStage, slug: str) -> None:
    """Started as a user of its own, ready by its own line, stopped with what its catalogue entry promises, twice; the
    second time by the death of its keeper."""
    if shutil.which(REAL[slug]) is None:
        assert not os.environ.get("CI"), f"{slug} is not installed"
        pytest.skip(f"NOT RUN: {slug} is not installed")
    game = Catalogue.load().find(slug)
    assert game is not None
    engine = await local.engine()
    endpoints = tuple(Endpoint(port.name, port.protocol, "127.0.0.1", free_port()) for port in game.ports)
    want = replace(local.want(endpoints=endpoints), memory_mib=game.memory.default_mib)
    server = Server(
        id=want.server_id,
        number=want.number,
        account_id="a",
        name="real",
        game=slug,
        generation=1,
        desired=Desired.RUNNING,
        desired_generation=1,
        restarts=0,
        variables={},
        memory_mib=want.memory_mib,
        world_generation=1,
        retired_worlds=(),
        created_at=datetime.now(UTC),
        updated_at=datetime.now(UTC),
    )
    launch = render_launch(game, server, engine.layout(want.server_id, 1), endpoints)
    await engine.apply(want, launch)
    await eventually(lambda: engine.observed(want.server_id).process, 10, "a process")
    await reaches(engine, want, Phase.READY)
    if os.geteuid() == 0:
        assert all(game_process.uids().real >= 200_000 for game_process in local.games())
    usage = await engine.usage(want.server_id)
    assert usage is not None
    assert 1 < usage.memory_mib < want.memory_mib
    assert len(local.console().lines(want.server_id, after=None, limit=1000)) > 3
    command = render_announcement(game, "The server moves in 5 minutes.")
    assert command is not None
    local.console().send(want.server_id, command)
    await eventually(
        lambda: any(
            "The server moves in 5 minutes." in line.text
            for line in local.console().lines(want.server_id, after=None, limit=50)
        ),
        10,
        "the players were told",
    )
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).asked
    assert last_exit(engine, want).save_seen in {True, None if game.stop.saved is None else True}
    world = Path(engine.layout(want.server_id, 1).world)
    assert any(world.iterdir())
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    local.keepers()[0].kill()
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).save_seen in {True, None if game.stop.saved is None else True}
    assert not local.games()
