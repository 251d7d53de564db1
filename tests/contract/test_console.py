"""What every console promises."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest

from contract.stages import Stage
from contract.test_engine import reaches, started
from overworld.domain.errors import Conflict
from overworld.domain.observed import Phase
from overworld.engines.base import Console, Line
from waiting import eventually


async def lines_are(console: Console, server_id: str, count: int) -> list[Line]:
    """Wait for that many ``line N`` lines."""

    def look() -> list[Line] | None:
        found = [line for line in console.lines(server_id, after=None, limit=1000) if line.text.startswith("line ")]
        return found if len(found) >= count else None

    return await eventually(look, 10, f"{count} lines")


async def take(console: Console, server_id: str, *, after: str | None, until: str) -> list[Line]:
    """Follow until the line with that text."""

    def follow() -> list[Line]:
        found = []
        for line in itertools.islice(console.follow(server_id, after=after), 10_000):
            if line is not None:
                found.append(line)
                if line.text == until:
                    return found
        raise AssertionError(f"no {until!r} in {found}")

    return await asyncio.wait_for(asyncio.to_thread(follow), 20)


async def test_a_server_that_never_ran_has_no_lines(stage: Stage) -> None:
    """And that is no error."""
    await stage.engine()
    assert stage.console().lines("nobody", after=None, limit=10) == []


async def test_lines_are_the_newest_oldest_first_and_resume_by_id(stage: Stage) -> None:
    """Limit and id cut from the right ends."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    stage.write(want.server_id, 50)
    console = stage.console()
    lines = await lines_are(console, want.server_id, 50)
    assert [line.text for line in lines] == [f"line {number}" for number in range(50)]
    assert [line.id for line in lines] == sorted({line.id for line in lines})
    assert all(early.at <= late.at for early, late in itertools.pairwise(lines))
    assert console.lines(want.server_id, after=None, limit=3) == lines[-3:]
    assert console.lines(want.server_id, after=lines[9].id, limit=1000) == lines[10:]
    assert console.lines(want.server_id, after=lines[9].id, limit=5) == lines[-5:]
    assert console.lines(want.server_id, after=lines[-1].id, limit=5) == []


async def test_lines_outlive_the_game(stage: Stage) -> None:
    """Its last words can be read after its end."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    stage.write(want.server_id, 5)
    await lines_are(stage.console(), want.server_id, 5)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    await lines_are(stage.console(), want.server_id, 5)


async def test_an_id_that_is_gone_gives_the_newest(stage: Stage) -> None:
    """A client that comes back after years, or with nonsense, still gets something."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    stage.write(want.server_id, 5)
    lines = await lines_are(stage.console(), want.server_id, 5)
    for gone in ("gone", "99999999999999999999", "9" * 400, "-1", "٣"):
        assert stage.console().lines(want.server_id, after=gone, limit=2) == lines[-2:]


async def test_follow_gives_what_was_and_then_what_comes(stage: Stage) -> None:
    """No line is missed between the two, and none comes twice."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    console = stage.console()
    following = asyncio.create_task(take(console, want.server_id, after=None, until="line 299"))
    stage.write(want.server_id, 300)
    found = await following
    numbers = [line.text for line in found if line.text.startswith("line ")]
    assert numbers == sorted(set(numbers), key=lambda text: int(text.split()[1]))
    assert numbers[-1] == "line 299"
    middle = found[-100]
    resumed = await take(console, want.server_id, after=middle.id, until="line 299")
    assert resumed == found[-99:]


async def test_commands_reach_the_game(stage: Stage) -> None:
    """A command is obeyed, and shows in the output of a game that answers."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    console = stage.console()
    console.send(want.server_id, "say hello")

    def heard() -> bool:
        return any("hello" in line.text for line in console.lines(want.server_id, after=None, limit=100))

    await eventually(heard, 10, "the game's answer")


async def test_commands_to_what_does_not_run_are_a_conflict(stage: Stage) -> None:
    """Never queued for later, never lost in silence."""
    engine = await stage.engine()
    with pytest.raises(Conflict):
        stage.console().send("nobody", "say hello")
    want, launch = await started(stage, engine)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    with pytest.raises(Conflict):
        stage.console().send(want.server_id, "say hello")
    mute = stage.want()
    await engine.apply(mute, replace(stage.launch(engine, mute, "good"), accepts_commands=False))
    await reaches(engine, mute, Phase.READY)
    with pytest.raises(Conflict):
        stage.console().send(mute.server_id, "say hello")
