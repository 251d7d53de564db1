"""What every engine promises: the same games on each of them, and the same observations."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from contract.stages import Stage
from overworld.domain.conditions import Reason
from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.domain.exits import Exit
from overworld.domain.games import Protocol
from overworld.domain.observed import Launch, Phase, ProcessSeen, Removal, Want, restart_delay
from overworld.domain.worlds import Storage
from overworld.engines.base import Engine
from waiting import eventually

SOON = 30.0


def process_of(engine: Engine, want: Want) -> ProcessSeen | None:
    """What the engine has seen of the server's process."""
    return engine.observed(want.server_id).process


async def reaches(engine: Engine, want: Want, phase: Phase) -> ProcessSeen:
    """Wait until the process is in that phase."""

    def look() -> ProcessSeen | None:
        seen = process_of(engine, want)
        return seen if seen is not None and seen.phase is phase else None

    return await eventually(look, SOON, f"{want.server_id} is {phase}: {process_of(engine, want)}")


async def started(stage: Stage, engine: Engine, part: str = "good") -> tuple[Want, Launch]:
    """A new server that is ready."""
    want = stage.want()
    launch = stage.launch(engine, want, part)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    return want, launch


def last_exit(engine: Engine, want: Want) -> Exit:
    """How its last process ended."""
    seen = process_of(engine, want)
    assert seen is not None
    assert seen.last_exit is not None
    return seen.last_exit


async def test_an_unknown_server_is_completely_unknown(stage: Stage) -> None:
    """There is nothing, and that is certain."""
    engine = await stage.engine()
    seen = engine.observed("nobody")
    assert (seen.complete, seen.process, seen.worlds, seen.exists) == (True, None, frozenset(), False)
    assert await engine.usage("nobody") is None
    assert list(engine.server_ids()) == []


async def test_a_server_becomes_ready_and_its_controller_is_woken(stage: Stage) -> None:
    """From nothing to ready, told by wakes, with its world and under its hash and token."""
    engine = await stage.engine()
    want, _ = await started(stage, engine, "needs-long")
    seen = engine.observed(want.server_id)
    assert seen.process is not None
    assert (seen.process.spec_hash, seen.process.restarts, seen.process.crashes) == ("spec-1", 0, 0)
    assert seen.process.last_exit is None
    assert seen.worlds == {1}
    assert seen.exists
    assert want.server_id in stage.woken(engine)
    assert list(engine.server_ids()) == [want.server_id]


async def test_a_stopped_wish_makes_the_world_and_starts_nothing(stage: Stage) -> None:
    """Installed means that the world is there."""
    engine = await stage.engine()
    want = stage.want(running=False)
    await engine.apply(want, stage.launch(engine, want, "good"))
    seen = engine.observed(want.server_id)
    assert seen.worlds == {1}
    assert seen.process is None


async def test_a_world_that_was_seen_is_never_made_anew(stage: Stage) -> None:
    """A disk that is not mounted must not look like a new server: nothing starts until the world is back."""
    engine = await stage.engine()
    want = stage.want(running=False)
    launch = stage.launch(engine, want, "good")
    await engine.apply(want, launch)
    await stage.lose_world(want.server_id)
    again = replace(want, running=True, may_make_world=False)
    with pytest.raises(EngineRefused) as refused:
        await engine.apply(again, launch)
    assert refused.value.reason == Reason.WORLD_MISSING
    assert process_of(engine, want) is None
    await stage.bring_world_back(want.server_id)
    await engine.apply(again, launch)
    await reaches(engine, want, Phase.READY)


async def test_a_larger_disk_is_no_reason_to_stop(stage: Stage) -> None:
    """Where worlds have disks they grow while people play; where they have none nothing happens."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    before = process_of(engine, want)
    larger = replace(want, storage=Storage.DISK, disk_mib=1024)
    await engine.apply(larger, launch)

    def has_grown() -> bool:
        disk = engine.observed(want.server_id).disks.get(1)
        return disk is None or disk.mib == 1024

    await eventually(has_grown, SOON, "its disk has grown")
    assert process_of(engine, want) == before
    await engine.apply(larger, launch)
    assert process_of(engine, want) == before


async def test_a_stop_saves_and_says_that_the_save_was_seen(stage: Stage) -> None:
    """Asked to save and quit; the line that proves it was seen."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    seen = last_exit(engine, want)
    assert (seen.status, seen.signal, seen.asked, seen.save_seen) == (0, None, True, True)


async def test_a_game_that_ignores_its_stop_is_killed_after_its_grace(stage: Stage) -> None:
    """It ends, and nobody claims that its world was saved."""
    engine = await stage.engine()
    want, launch = await started(stage, engine, "ignores-stop")
    await engine.apply(replace(want, running=False), launch)
    assert (await reaches(engine, want, Phase.STOPPING)).phase is Phase.STOPPING
    await reaches(engine, want, Phase.STOPPED)
    seen = last_exit(engine, want)
    assert (seen.status, seen.signal, seen.asked, seen.save_seen) == (None, "SIGKILL", True, False)


async def test_a_crash_is_started_again_after_its_delay(stage: Stage) -> None:
    """Exit and last words are kept, crashes are counted, and the engine itself starts it again."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    stage.crash(want.server_id)
    waiting = await reaches(engine, want, Phase.WAITING)
    assert waiting.crashes == 1
    assert waiting.next_start_at is not None
    assert abs(waiting.next_start_at - waiting.since - restart_delay(1)) < timedelta(seconds=0.2)
    assert (last_exit(engine, want).status, last_exit(engine, want).asked) == (1, False)
    again = await reaches(engine, want, Phase.READY)
    assert (again.crashes, again.next_start_at) == (1, None)
    assert again.last_exit is not None


async def test_a_game_that_dies_at_once_waits_longer_each_time(stage: Stage) -> None:
    """Back-off grows, and its last words say why."""
    engine = await stage.engine()
    want = stage.want()
    await engine.apply(want, stage.launch(engine, want, "dies-at-once"))

    def twice() -> ProcessSeen | None:
        seen = process_of(engine, want)
        return seen if seen is not None and seen.phase is Phase.WAITING and seen.crashes == 2 else None

    waiting = await eventually(twice, SOON, "a second crash")
    assert waiting.next_start_at is not None
    assert waiting.next_start_at - waiting.since > restart_delay(1)
    assert last_exit(engine, want).status == 3
    assert "cannot open the map" in last_exit(engine, want).lines


async def test_a_stop_while_waiting_for_the_next_start_is_at_once(stage: Stage) -> None:
    """Nothing runs, so nothing is waited for; the crash stays known."""
    engine = await stage.engine()
    want = stage.want()
    launch = stage.launch(engine, want, "dies-at-once")
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.WAITING)
    await engine.apply(replace(want, running=False), launch)
    stopped = await reaches(engine, want, Phase.STOPPED)
    assert stopped.next_start_at is None
    assert last_exit(engine, want).status == 3


async def test_a_stop_while_starting_stops(stage: Stage) -> None:
    """A game that is not ready yet, or never will be, can be stopped."""
    engine = await stage.engine()
    want = stage.want()
    launch = stage.launch(engine, want, "never-ready")
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.STARTING)
    await stage.until_process(engine, want.server_id)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).asked


async def test_an_edit_leaves_the_running_process_alone(stage: Stage) -> None:
    """Same token, other hash: what runs goes on."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    before = process_of(engine, want)
    await engine.apply(replace(want, spec_hash="spec-2"), launch)
    await engine.apply(want, launch)
    assert process_of(engine, want) == before


async def test_an_edit_reaches_a_crashed_game_at_its_next_start(stage: Stage) -> None:
    """While it waits for its next start nothing runs, so applying again brings the new spec in."""
    engine = await stage.engine()
    want = stage.want()
    await engine.apply(want, stage.launch(engine, want, "dies-at-once"))
    await reaches(engine, want, Phase.WAITING)
    edited = replace(want, spec_hash="spec-2")
    launch = stage.launch(engine, want, "good")

    async def applied() -> bool | None:
        await engine.apply(edited, launch)
        seen = process_of(engine, want)
        return seen is not None and seen.phase is Phase.READY and seen.spec_hash == "spec-2"

    await eventually(applied, SOON, "ready under the new spec")


async def test_another_token_stops_gracefully_and_the_next_apply_starts_anew(stage: Stage) -> None:
    """A restart is a stop with its save, and then a start."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    again = replace(want, restarts=1)

    async def restarted() -> bool | None:
        await engine.apply(again, launch)
        seen = process_of(engine, want)
        return seen is not None and seen.phase is Phase.READY and seen.restarts == 1

    await eventually(restarted, SOON, "ready under the new token")
    assert (last_exit(engine, want).asked, last_exit(engine, want).save_seen) == (True, True)


async def test_a_start_wished_for_during_a_stop_comes_after_it(stage: Stage) -> None:
    """The save is never cut short by a new wish."""
    engine = await stage.engine()
    want, launch = await started(stage, engine, "ignores-stop")
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPING)
    await engine.apply(want, launch)
    assert (await reaches(engine, want, Phase.STOPPED)).last_exit is not None
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)


async def test_a_new_engine_sees_what_runs_and_closing_leaves_it_running(stage: Stage) -> None:
    """The controller can die and come back: the game neither notices nor is orphaned."""
    first = await stage.engine()
    want, launch = await started(stage, first)
    stopped, _ = await started(stage, first)
    await first.apply(replace(stopped, running=False), launch)
    await reaches(first, stopped, Phase.STOPPED)
    before = first.observed(want.server_id)
    await first.close()
    await first.close()
    second = await stage.engine()
    assert second.observed(want.server_id) == before
    assert second.observed(stopped.server_id).process is not None
    assert last_exit(second, stopped).save_seen
    await second.apply(replace(want, running=False), launch)
    await reaches(second, want, Phase.STOPPED)
    assert last_exit(second, want).save_seen


async def test_two_engines_at_once_start_one_process(stage: Stage) -> None:
    """Two controllers, by mistake, and still one game on one world."""
    first, second = await stage.engine(), await stage.engine()
    want = stage.want()
    launch = stage.launch(first, want, "good")
    await asyncio.gather(*(engine.apply(want, launch) for engine in (first, second) * 3))
    await reaches(first, want, Phase.READY)
    await reaches(second, want, Phase.READY)
    assert process_of(first, want) == process_of(second, want)
    await second.apply(replace(want, running=False), launch)
    await reaches(first, want, Phase.STOPPED)


async def test_what_runs_cannot_be_deleted(stage: Stage) -> None:
    """Refused as long as something runs on it."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    for removal in (Removal(want.server_id, 1), Removal(want.server_id)):
        with pytest.raises(EngineUnavailable):
            await engine.delete(removal)
    assert engine.observed(want.server_id).worlds == {1}


async def test_a_generation_and_then_the_rest_are_deleted(stage: Stage) -> None:
    """First the worlds, one by one, then everything else, each safe to repeat; then nothing is left."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    later = replace(want, running=False, world_generation=2)
    await engine.apply(later, stage.launch(engine, later, "good"))
    assert engine.observed(want.server_id).worlds == {1, 2}
    for _ in range(2):
        await engine.delete(Removal(want.server_id, 1))
    assert engine.observed(want.server_id).worlds == {2}
    assert engine.observed(want.server_id).exists
    await engine.delete(Removal(want.server_id, 2))
    for _ in range(2):
        await engine.delete(Removal(want.server_id))
    seen = engine.observed(want.server_id)
    assert (seen.exists, seen.worlds, seen.process) == (False, frozenset(), None)
    assert want.server_id not in engine.server_ids()
    assert not (await stage.engine()).observed(want.server_id).exists


async def test_usage_is_of_what_runs(stage: Stage) -> None:
    """CPU, memory and start while it runs; None before and after."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    usage = await engine.usage(want.server_id)
    assert usage is not None
    assert usage.cpu_seconds >= 0
    assert 0 < usage.memory_mib < want.memory_mib
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert await engine.usage(want.server_id) is None


async def test_a_port_that_nobody_uses_is_free(stage: Stage) -> None:
    """Asked for both transports."""
    engine = await stage.engine()
    for protocol in Protocol:
        assert await engine.port_is_free(protocol, 29871)


async def test_an_older_generation_is_deleted_while_the_current_one_runs(stage: Stage) -> None:
    """Undo's time passes while people play."""
    engine = await stage.engine()
    old = stage.want(running=False)
    await engine.apply(old, stage.launch(engine, old, "good"))
    want = replace(old, running=True, world_generation=2)
    await engine.apply(want, stage.launch(engine, want, "good"))
    await reaches(engine, want, Phase.READY)
    await engine.delete(Removal(want.server_id, 1))
    assert engine.observed(want.server_id).worlds == {2}
    assert process_of(engine, want) is not None
    with pytest.raises(EngineUnavailable):
        await engine.delete(Removal(want.server_id, 2))
