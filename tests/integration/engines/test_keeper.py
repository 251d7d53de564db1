"""The keeper by itself: floods, its size, and its life as the entrypoint of an image."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from contract.stages import LocalStage
from contract.test_console import take
from contract.test_engine import last_exit, process_of, reaches, started
from games.parts import ACTOR
from overworld.domain.observed import Phase
from overworld.engines import keeper
from waiting import eventually, wait_until

KEEPER_MIB = 12


async def test_a_keeper_is_small(local: LocalStage) -> None:
    """One per server, so its size counts; also after some thousand lines."""
    engine = await local.engine()
    want, _ = await started(local, engine)
    local.write(want.server_id, 3000)
    await take(local.console(), want.server_id, after=None, until="line 2999")
    assert local.keepers()[0].memory_info().rss < KEEPER_MIB * 2**20


async def test_a_flood_is_bounded(local: LocalStage) -> None:
    """The ready line is found in it, processor and disk stay bounded, what was dropped is said, the stop works."""
    engine = await local.engine()
    want, launch = await started(local, engine, "floods")
    process = local.keepers()[0]
    run = local.folder / want.server_id / "run"

    def spent() -> float:
        times = process.cpu_times()
        return times.user + times.system

    before, at = spent(), time.monotonic()
    await eventually(lambda: time.monotonic() - at > 2, 5, "two seconds of flood")
    assert spent() - before < 0.5 * (time.monotonic() - at)
    assert process.memory_info().rss < 2 * KEEPER_MIB * 2**20
    lines = local.console().lines(want.server_id, after=None, limit=1000)
    assert any(" lines dropped" in line.text for line in lines)
    usage = await engine.usage(want.server_id)
    assert usage is not None
    assert usage.roster is None, "joins may have been dropped, so nobody knows who plays"
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).save_seen
    assert sum(path.stat().st_size for path in run.iterdir()) <= 2 * keeper.LOG_BYTES + 100_000


async def test_a_slow_reader_of_the_console_is_dropped_and_misses_nothing(local: LocalStage) -> None:
    """It neither blocks the game nor fills the keeper's memory; it goes on where it was."""
    engine = await local.engine()
    want, _ = await started(local, engine)
    following = local.console().follow(want.server_id, after=None)
    assert next(following) is not None
    local.console().send(want.server_id, "say begin")
    assert (await asyncio.to_thread(next, following)) is not None  # from now on it is connected, and reads nothing
    text = "x" * 900
    for number in range(600):
        local.console().send(want.server_id, f"say {number} {text}")
    local.console().send(want.server_id, "say more")
    await taken(local, want.server_id)
    assert local.keepers()[0].memory_info().rss < KEEPER_MIB * 2**20

    def read_all() -> list[str]:
        found: list[str] = []
        for line in following:
            if line is not None:
                found.append(line.text)
                if line.text == "more":
                    break
        return found

    texts = await asyncio.wait_for(asyncio.to_thread(read_all), 20)
    assert [line.split()[0] for line in texts] == [*(str(number) for number in range(600)), "more"]


async def taken(local: LocalStage, server_id: str) -> list[Any]:
    """The newest lines, once ``more`` is the last of them."""

    def look() -> list[Any] | None:
        lines = local.console().lines(server_id, after=None, limit=5)
        return list(lines) if lines and lines[-1].text == "more" else None

    return await eventually(look, 10, "the game's answer")


async def test_following_goes_on_over_a_restart(local: LocalStage) -> None:
    """One stream shows the end of one process and the beginning of the next."""
    engine = await local.engine()
    want, launch = await started(local, engine)
    following = local.console().follow(want.server_id, after=None)
    assert (line := next(following)) is not None
    assert line.text == "ready to play"
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    again = replace(want, restarts=1)
    await engine.apply(again, launch)
    await reaches(engine, again, Phase.READY)
    texts = [line.text for line in (next(following) for _ in range(2)) if line is not None]
    assert texts == ["world saved", "ready to play"]


async def test_a_stop_command_is_typed(local: LocalStage) -> None:
    """Where the catalogue names a command, no signal is sent."""
    engine = await local.engine()
    want = local.want()
    launch = local.launch(engine, want, "good")
    launch = replace(launch, stop=replace(launch.stop, command="say goodbye\nquit"), accepts_commands=False)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).lines[-2:] == ("goodbye", "world saved")


async def test_joins_and_leaves_are_counted_until_the_process_ends(local: LocalStage) -> None:
    """The roster is the second signal of who plays."""
    engine = await local.engine()
    want, _ = await started(local, engine)
    for text in ("ada joins", "ben joins", "ada joins", "ada leaves", "more"):
        local.console().send(want.server_id, f"say {text}")
    await taken(local, want.server_id)
    usage = await engine.usage(want.server_id)
    assert usage is not None
    assert usage.roster == ("ben",)
    local.crash(want.server_id)
    await reaches(engine, want, Phase.WAITING)
    await reaches(engine, want, Phase.READY)
    usage = await engine.usage(want.server_id)
    assert usage is not None
    assert usage.roster == ()


async def test_crashes_are_forgotten_after_a_while_of_health(
    local: LocalStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a crash a month later waits a second and not five minutes."""
    monkeypatch.setattr("overworld.engines.launches.HEALTHY_SECONDS", 0.2)
    engine = await local.engine()
    want, _ = await started(local, engine)
    local.crash(want.server_id)
    assert (await reaches(engine, want, Phase.WAITING)).crashes == 1
    await reaches(engine, want, Phase.READY)
    await eventually(lambda: (seen := process_of(engine, want)) and seen.crashes == 0, 5, "its crashes are forgotten")


async def test_a_program_that_goes_away_shows_in_its_last_words(local: LocalStage) -> None:
    """What cannot be executed is an exit like any other, with the reason as its last line."""
    engine = await local.engine()
    want = local.want()
    program = local.folder.parent / "game"
    program.write_text("#!/nowhere/interpreter\n")
    program.chmod(0o755)
    await engine.apply(want, replace(local.launch(engine, want, "good"), programs=(str(program),)))
    await reaches(engine, want, Phase.WAITING)
    assert last_exit(engine, want).status == 127
    assert "No such file" in last_exit(engine, want).lines[-1]


async def test_a_data_folder_with_a_long_path_works(open_folder: Path) -> None:
    """A socket's path may have 107 bytes; a folder's more."""
    deep = open_folder.joinpath(*["a-folder-with-a-rather-long-name"] * 8)
    deep.mkdir(parents=True)
    stage = LocalStage(deep)
    try:
        engine = await stage.engine()
        want, launch = await started(stage, engine)
        stage.console().send(want.server_id, "say hello")
        await take(stage.console(), want.server_id, after=None, until="hello")
        await engine.apply(replace(want, running=False), launch)
        await reaches(engine, want, Phase.STOPPED)
    finally:
        await stage.leave()


class Entrypoint:
    """A keeper in the foreground, as in a container, with a scripted game."""

    def __init__(self, folder: Path, part: str, **changes: Any) -> None:
        world = folder / "world"
        world.mkdir()
        launch = {
            "argv": ["/usr/bin/python3", "-I", str(ACTOR), part],
            "environment": {"HOME": str(world)},
            "world": str(world),
            "uid": None,
            "gid": None,
            "cgroups": [],
            "rlimits": {},
            "accepts_commands": True,
            "log_file": None,
            "stop": {"command": None, "signal": "SIGTERM", "grace_seconds": 1, "saved": "^world saved$"},
            "ready": "^ready to play",
            "roster": None,
            "restart_delays": [],
            "healthy_seconds": 600,
            "spec_hash": "",
            "restarts": 0,
            "world_generation": 1,
            **changes,
        }
        (folder / "launch.json").write_text(json.dumps(launch))
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, "foreground", str(folder / "launch.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def state(self) -> dict[str, Any]:
        """What it last wrote."""
        try:
            state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
            return state
        except FileNotFoundError:
            return {"phase": None}

    def wait_for(self, phase: str) -> None:
        """Wait until the game is in that phase."""
        wait_until(lambda: self.state()["phase"] == phase, 10, phase)


@pytest.fixture
def entrypoints(tmp_path: Path) -> Iterator[list[Entrypoint]]:
    """Those in this list are ended after the test."""
    started_ones: list[Entrypoint] = []
    yield started_ones
    for entrypoint in started_ones:
        if entrypoint.process.poll() is None:
            for child in psutil.Process(entrypoint.process.pid).children(recursive=True):
                child.kill()
            entrypoint.process.kill()
        entrypoint.process.communicate()


def test_sigterm_saves_and_the_game_s_status_is_the_keeper_s(entrypoints: list[Entrypoint], tmp_path: Path) -> None:
    """A drain, an eviction and a person stop a container all the same way; its output is the container's."""
    entrypoint = Entrypoint(tmp_path, "good")
    entrypoints.append(entrypoint)
    entrypoint.wait_for("ready")
    entrypoint.process.send_signal(signal.SIGTERM)
    out, err = entrypoint.process.communicate(timeout=10)
    assert (entrypoint.process.returncode, err) == (0, "")
    assert out.splitlines() == ["ready to play", "world saved"]
    assert entrypoint.state()["last_exit"]["save_seen"] is True


def test_attaching_to_it_reaches_the_game(entrypoints: list[Entrypoint], tmp_path: Path) -> None:
    """Its standard input is the game's, and a crash ends it with the game's status, without a restart."""
    entrypoint = Entrypoint(tmp_path, "good")
    entrypoints.append(entrypoint)
    entrypoint.wait_for("ready")
    out, _ = entrypoint.process.communicate("say hello\ncrash 7\n", timeout=10)
    assert entrypoint.process.returncode == 7
    assert "hello" in out


def test_a_game_killed_by_a_signal_shows_as_in_a_shell(entrypoints: list[Entrypoint], tmp_path: Path) -> None:
    """128 + 9 for a game that had to be killed, children included."""
    entrypoint = Entrypoint(tmp_path, "ignores-stop")
    entrypoints.append(entrypoint)
    entrypoint.wait_for("ready")
    entrypoint.process.send_signal(signal.SIGTERM)
    entrypoint.process.communicate(timeout=10)
    assert entrypoint.process.returncode == 128 + signal.SIGKILL


def test_orphans_are_reaped(entrypoints: list[Entrypoint], tmp_path: Path) -> None:
    """As the first process of a container it is everybody's last parent: no zombie stays."""
    entrypoint = Entrypoint(tmp_path, "good", argv=["/bin/sh", "-c", "(sleep 0.1 & ) ; echo ready to play; read x"])
    entrypoints.append(entrypoint)
    entrypoint.wait_for("ready")
    us = psutil.Process(entrypoint.process.pid)
    wait_until(lambda: len(us.children()) == 1, 5, "only the game is left")
    assert us.children()[0].status() != psutil.STATUS_ZOMBIE


def test_a_missing_program_is_said(entrypoints: list[Entrypoint], tmp_path: Path) -> None:
    """In the container's log, with the status of a shell."""
    entrypoint = Entrypoint(tmp_path, "good", argv=["/nowhere/game"])
    entrypoints.append(entrypoint)
    out, _ = entrypoint.process.communicate(timeout=10)
    assert entrypoint.process.returncode == 127
    assert "could not start /nowhere/game" in out
    assert os.path.exists(tmp_path / "state.json")
