"""What keeps a game from starting has a reason and a sentence that tells its owner what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from contract.stages import LocalStage
from contract.test_engine import reaches
from installation import free_port
from overworld.domain.errors import EngineRefused
from overworld.domain.games import Protocol
from overworld.domain.observed import Launch, Phase, Want
from overworld.domain.servers import Endpoint
from overworld.engines.base import Engine


async def refusal(engine: Engine, want: Want, launch: Launch) -> EngineRefused:
    """The refusal to apply that wish."""
    with pytest.raises(EngineRefused) as refused:
        await engine.apply(want, launch)
    return refused.value


async def test_a_missing_program_says_how_to_get_it(local: LocalStage) -> None:
    """With the catalogue's own words; the world is there nevertheless."""
    engine = await local.engine()
    want = local.want()
    launch = replace(local.launch(engine, want, "good"), programs=("/nowhere/game", "gamed"), install="Use: apt it.")
    refused = await refusal(engine, want, launch)
    assert refused.reason == "ProgramMissing"
    assert "/nowhere/game, gamed" in refused.detail
    assert refused.detail.endswith("Use: apt it.")
    assert engine.observed(want.server_id).process is None
    lacking = replace(local.launch(engine, want, "good"), requires=("/nowhere/data",), install="Use: apt it.")
    assert "/nowhere/data" in (await refusal(engine, want, lacking)).detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs games as other users")
async def test_a_program_that_only_root_can_reach_is_missing(local: LocalStage, tmp_path: Path) -> None:
    """Rather than a game that crashes for ever without a word."""
    engine = await local.engine()
    want = local.want()
    program = tmp_path / "game"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    tmp_path.chmod(0o700)
    refused = await refusal(engine, want, replace(local.launch(engine, want, "good"), programs=(str(program),)))
    assert refused.reason == "ProgramMissing"
    assert "chmod o+x" in refused.detail


@pytest.mark.parametrize("protocol", list(Protocol))
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
async def test_a_taken_port_says_by_whom(local: LocalStage, protocol: Protocol, host: str) -> None:
    """On whatever address it is taken, and it starts as soon as the port is free."""
    kind = socket.SOCK_DGRAM if protocol is Protocol.UDP else socket.SOCK_STREAM
    engine = await local.engine()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as other:
        other.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        want = local.want(endpoints=(Endpoint("game", protocol, "127.0.0.1", port),))
        refused = await refusal(engine, want, local.launch(engine, want, "good"))
        assert refused.reason == "PortTaken"
        assert f"{port}/{protocol}" in refused.detail
        assert f"process {os.getpid()}" in refused.detail
        assert not await engine.port_is_free(protocol, port)
    assert await engine.port_is_free(protocol, port)
    await engine.apply(want, local.launch(engine, want, "good"))
    await reaches(engine, want, Phase.READY)


async def test_a_port_is_free_again_at_once_after_a_game_with_connections(local: LocalStage) -> None:
    """Connections that linger after a stop do not keep the game from starting again."""
    engine = await local.engine()
    port = free_port()
    want = local.want(endpoints=(Endpoint("game", Protocol.TCP, "127.0.0.1", port),))
    launch = local.launch(engine, want, "good")
    launch = replace(launch, arguments=(*launch.arguments, str(port)))
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    assert not await engine.port_is_free(Protocol.TCP, port)
    with socket.create_connection(("127.0.0.1", port)):
        await engine.apply(replace(want, running=False), launch)
        await reaches(engine, want, Phase.STOPPED)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)


@pytest.fixture
def small_disk(open_folder: Path) -> Iterator[Path]:
    """A folder on a file system of 80 MiB."""
    folder = open_folder / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80m,mode=711", "small", str(folder)], check=False
    ).returncode:
        pytest.skip("this machine lets us mount nothing")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_nearly_full_disk_starts_nothing(small_disk: Path) -> None:
    """A game that cannot save must not start; with room again it does."""
    stage = LocalStage(small_disk)
    try:
        engine = await stage.engine()
        want = stage.want()
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * 40 * 2**20)
        refused = await refusal(engine, want, stage.launch(engine, want, "good"))
        assert refused.reason == "DiskFull"
        assert "Free some space" in refused.detail
        filler.unlink()
        await engine.apply(want, stage.launch(engine, want, "good"))
        await reaches(engine, want, Phase.READY)
    finally:
        await stage.leave()


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 4096):
            pass


async def test_a_disk_that_fills_up_does_not_confuse_the_keeper(small_disk: Path) -> None:
    """What it remembers stays true on a disk without a free byte: the stop, and that its save was not seen or seen."""
    stage = LocalStage(small_disk)
    try:
        engine = await stage.engine()
        want = stage.want()
        launch = stage.launch(engine, want, "ignores-stop")
        await engine.apply(want, launch)
        await reaches(engine, want, Phase.READY)
        fill(small_disk / "filler")
        await engine.apply(replace(want, running=False), launch)
        stopped = await reaches(engine, want, Phase.STOPPED)
        assert stopped.last_exit is not None
        assert stopped.last_exit.signal == "SIGKILL"
        again = await stage.engine()
        assert again.observed(want.server_id).process == stopped
    finally:
        await stage.leave()


@pytest.mark.parametrize("name", ["../out", "/etc/x", "", ".", "..", "a/b", "a\nb", "x" * 200])
async def test_file_names_that_lead_elsewhere_are_refused(local: LocalStage, name: str) -> None:
    """Whatever a catalogue says, nothing is written outside the configuration folder."""
    engine = await local.engine()
    want = local.want()
    launch = replace(local.launch(engine, want, "good"), files={name: "x"})
    assert (await refusal(engine, want, launch)).reason == "BadFileName"


@pytest.mark.parametrize("server_id", ["../x", "", ".", "A", "x/y", "1abc", "x" * 64])
async def test_ids_that_lead_elsewhere_are_refused(local: LocalStage, server_id: str) -> None:
    """An id is a DNS label or nothing."""
    engine = await local.engine()
    want = local.want()
    launch = local.launch(engine, want, "good")
    assert (await refusal(engine, replace(want, server_id=server_id), launch)).reason == "BadServerId"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs games as other users")
async def test_a_closed_data_folder_says_which_to_open(open_folder: Path) -> None:
    """A game's user must be able to come to its world."""
    closed = open_folder / "closed"
    (closed / "deep").mkdir(parents=True)
    stage = LocalStage(closed / "deep")
    closed.chmod(0o700)
    try:
        engine = await stage.engine()
        want = stage.want()
        refused = await refusal(engine, want, stage.launch(engine, want, "good"))
        assert refused.reason == "FolderClosed"
        assert f"chmod o+x {closed}" in refused.detail
    finally:
        await stage.leave()


async def test_a_world_held_by_a_stranger_is_in_use(local: LocalStage) -> None:
    """A process that holds the world keeps every other from it."""
    engine = await local.engine()
    want = local.want(running=False)
    launch = local.launch(engine, want, "good")
    await engine.apply(want, launch)
    lock = local.folder / want.server_id / "run" / "world.lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.flock(f, 2); print(flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    assert (await refusal(engine, replace(want, running=True), launch)).reason == "WorldInUse"
    holder.communicate(b"\n")
    await engine.apply(replace(want, running=True), launch)
    await reaches(engine, want, Phase.READY)
