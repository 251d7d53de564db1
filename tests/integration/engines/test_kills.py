"""Kill −9 of a keeper or a game: noticed at once, the world gets its chance, and never two games on one world."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import psutil

from contract.stages import LocalStage
from contract.test_engine import last_exit, process_of, reaches, started
from overworld.domain.observed import Phase, ProcessSeen, Want
from overworld.engines.local.seen import read_keeper_state
from waiting import eventually


def world_of(local: LocalStage, want: Want) -> Path:
    """The folder of the server's world."""
    return local.folder / want.server_id / "world" / "1"


def game_pid(local: LocalStage, want: Want) -> int:
    """The first process of the game."""
    state = read_keeper_state(local.folder / want.server_id / "run")
    assert state is not None
    return state.pid


def lines_in(path: Path) -> int:
    """How many lines a file of the world has."""
    return len(path.read_text().splitlines()) if path.exists() else 0


async def test_a_killed_game_is_a_crash(local: LocalStage) -> None:
    """Its signal is known and it is started again."""
    engine = await local.engine()
    want, _ = await started(local, engine)
    os.kill(game_pid(local, want), signal.SIGKILL)
    await reaches(engine, want, Phase.WAITING)
    seen = last_exit(engine, want)
    assert (seen.status, seen.signal, seen.asked, seen.save_seen) == (None, "SIGKILL", False, False)
    await reaches(engine, want, Phase.READY)


async def test_the_game_of_a_killed_keeper_saves_and_ends(local: LocalStage) -> None:
    """The kernel asks it to stop; the save is seen although nobody was its parent any more; a new start works."""
    engine = await local.engine()
    want, launch = await started(local, engine)
    local.keepers()[0].kill()
    await reaches(engine, want, Phase.STOPPED)
    seen = last_exit(engine, want)
    assert (seen.signal, seen.asked, seen.save_seen) == ("SIGTERM", False, True)
    assert lines_in(world_of(local, want) / "saves") == 1
    assert not local.games()
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    assert not (world_of(local, want) / "two-at-once").exists()


async def test_a_game_that_saves_by_command_gets_it_although_its_keeper_was_killed(local: LocalStage) -> None:
    """No signal, which would end it unsaved: the next keeper types the command."""
    engine = await local.engine()
    want = local.want()
    launch = local.launch(engine, want, "good")
    launch = replace(launch, stop=replace(launch.stop, command="say goodbye\nquit"))
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    local.keepers()[0].kill()
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).lines == ("goodbye", "world saved")
    assert last_exit(engine, want).save_seen


async def test_a_game_that_ignores_the_end_of_its_keeper_is_killed_before_the_next_start(local: LocalStage) -> None:
    """It gets its grace; a start wished for meanwhile does not happen."""
    engine = await local.engine()
    want, launch = await started(local, engine, "ignores-stop")
    local.keepers()[0].kill()
    await reaches(engine, want, Phase.STOPPING)
    await engine.apply(want, launch)
    assert lines_in(world_of(local, want) / "starts") == 1
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).signal == "SIGKILL"
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    assert not (world_of(local, want) / "two-at-once").exists()


async def test_children_of_a_killed_keepers_game_do_not_stay(local: LocalStage) -> None:
    """The kernel tells only the first process; the rest is told, then killed."""
    engine = await local.engine()
    want, _ = await started(local, engine, "leaves-child")
    assert len(local.games()) == 2
    local.keepers()[0].kill()
    await reaches(engine, want, Phase.STOPPED)
    assert not local.games()


async def test_a_keeper_killed_while_nobody_watched_is_found_at_the_next_start(local: LocalStage) -> None:
    """Controller and keeper both dead: the next controller waits for the game, then starts it anew."""
    first = await local.engine()
    want, launch = await started(local, first, "ignores-stop")
    await first.close()
    local.keepers()[0].kill()
    second = await local.engine()
    assert (await reaches(second, want, Phase.STOPPING)).spec_hash == "spec-1"
    await reaches(second, want, Phase.STOPPED)
    await second.apply(want, launch)
    await reaches(second, want, Phase.READY)


async def test_a_keeper_killed_between_two_starts_leaves_its_last_exit(local: LocalStage) -> None:
    """Nothing ran, so nothing is waited for."""
    engine = await local.engine()
    want = local.want()
    await engine.apply(want, local.launch(engine, want, "dies-at-once"))
    await reaches(engine, want, Phase.WAITING)
    local.keepers()[0].kill()
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).status == 3


async def test_everything_killed_at_once_leaves_a_server_that_starts(local: LocalStage) -> None:
    """As after a power cut."""
    first = await local.engine()
    want, launch = await started(local, first)
    await first.close()
    local.end_all()
    second = await local.engine()
    await reaches(second, want, Phase.STOPPED)
    await second.apply(want, launch)
    await reaches(second, want, Phase.READY)
    assert lines_in(world_of(local, want) / "starts") == 2


async def test_games_of_a_removed_folder_end(local: LocalStage) -> None:
    """Who removes the data folder of a running installation is left with no process of it."""
    engine = await local.engine()
    await started(local, engine)
    await engine.close()
    game, keeper = local.games()[0], local.keepers()[0]
    shutil.rmtree(local.folder)
    await eventually(lambda: not game.is_running() and not keeper.is_running(), 20, "game and keeper ended")


async def test_kills_and_two_engines_never_give_two_games(local: LocalStage) -> None:
    """Whatever is killed, however many engines apply at once: the game itself never meets another on its world."""
    engines = [await local.engine(), await local.engine()]
    want, launch = await started(local, engines[0])
    for round_number in range(6):
        before = process_of(engines[0], want)
        victim = local.keepers()[0] if round_number % 2 else psutil.Process(game_pid(local, want))
        victim.kill()

        async def both_ready(before: ProcessSeen | None = before) -> bool | None:
            await asyncio.gather(*(engine.apply(want, launch) for engine in engines))
            seen = [process_of(engine, want) for engine in engines]
            return before != seen[0] == seen[1] and seen[0] is not None and seen[0].phase is Phase.READY

        await eventually(both_ready, 20, "ready again for both")
    assert not (world_of(local, want) / "two-at-once").exists()
    assert len(local.games()) == 1
    await engines[0].apply(replace(want, running=False), launch)
    await reaches(engines[1], want, Phase.STOPPED)
    await eventually(lambda: not local.keepers(), 5, "no keeper is left")
