"""A game is nobody: not root, not its neighbour, not more than its limits, and it cannot trick those who are root."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from contract.stages import LocalStage
from contract.test_console import lines_are
from contract.test_engine import last_exit, reaches, started
from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.domain.observed import Launch, Phase, Removal, Want
from overworld.engines.local.cgroups import Cgroups, find_cgroups
from overworld.engines.local.users import BLOCK, Users
from waiting import eventually

IS_CI = bool(os.environ.get("CI"))  # where nothing may be skipped
as_root = pytest.mark.skipif(os.geteuid() != 0 and not IS_CI, reason="NOT RUN: giving servers users needs root")
with_cgroups = pytest.mark.skipif(
    find_cgroups().memory is None and not IS_CI, reason="NOT RUN: this machine lets us make no cgroups"
)


def run_as(local: LocalStage, want: Want, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as that server's user."""
    user = Users(local.folder).of(want.number)
    assert user is not None
    return subprocess.run(
        command, user=user.uid, group=user.gid, extra_groups=[], capture_output=True, text=True, check=False, cwd="/"
    )


@as_root
async def test_a_game_has_no_rights_but_its_own(local: LocalStage) -> None:
    """Own user and group, no others; no way to gain rights; no core dumps; the environment is what was said."""
    engine = await local.engine()
    want = local.want()
    launch = replace(local.launch(engine, want, "good"), environment={"COLOUR": "blue"})
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    game = local.games()[0]
    user = Users(local.folder).of(want.number)
    assert user is not None
    assert set(game.uids()) == {user.uid}
    assert set(game.gids()) == {user.gid}
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{game.pid}/status").read_text().splitlines())
    assert status["Groups"].strip() == ""
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    limits = Path(f"/proc/{game.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    assert re.search(r"Max processes +512 +512 ", limits)
    assert set(game.environ()) - {"LC_CTYPE"} == {"HOME", "PATH", "LANG", "COLOUR"}
    assert game.environ()["HOME"] == game.cwd() == engine.layout(want.server_id, 1).world
    assert {int(fd) for fd in os.listdir(f"/proc/{game.pid}/fd")} >= {0, 1, 2}
    assert not [
        target
        for fd in os.listdir(f"/proc/{game.pid}/fd")
        if "socket:" in (target := os.readlink(f"/proc/{game.pid}/fd/{fd}")) or "console.log" in target
    ]


@as_root
async def test_neighbours_cannot_read_each_other(local: LocalStage) -> None:
    """Worlds and configuration are closed to other servers' users, the run folder to all of them."""
    engine = await local.engine()
    mine, _ = await started(local, engine)
    other, _ = await started(local, engine)
    layout = engine.layout(mine.server_id, 1)
    run = local.folder / mine.server_id / "run"
    for folder in (layout.world, layout.config, str(run)):
        assert run_as(local, other, "ls", folder).returncode != 0, folder
    assert run_as(local, mine, "ls", layout.world).returncode == 0
    assert run_as(local, mine, "cat", f"{layout.config}/game.py").returncode == 0
    assert run_as(local, mine, "touch", f"{layout.config}/mine").returncode != 0
    assert run_as(local, mine, "sh", "-c", f"echo > {layout.config}/game.py").returncode != 0
    assert run_as(local, mine, "ls", str(run)).returncode != 0
    assert run_as(local, mine, "ls", str(local.folder)).returncode != 0


@with_cgroups
async def test_a_game_that_takes_too_much_memory_is_killed_and_that_is_said(local: LocalStage) -> None:
    """Out of memory is told apart from a crash."""
    engine = await local.engine()
    want = local.want()
    await engine.apply(want, local.launch(engine, want, "memory-hog"))
    await reaches(engine, want, Phase.WAITING)
    assert last_exit(engine, want).out_of_memory
    assert last_exit(engine, want).signal == "SIGKILL"


@with_cgroups
async def test_no_cgroup_is_left_over(local: LocalStage) -> None:
    """After a stop the server's cgroups are gone."""
    memory = find_cgroups().memory
    assert memory is not None
    engine = await local.engine()
    want, launch = await started(local, engine)
    assert [folder for folder in memory.iterdir() if folder.name.endswith(want.server_id)]
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert not [folder for folder in memory.iterdir() if folder.name.endswith(want.server_id)]


async def test_children_do_not_outlive_the_game(local: LocalStage) -> None:
    """A child that ignores every signal but one is gone when the server is stopped."""
    engine = await local.engine()
    want, launch = await started(local, engine, "leaves-child")
    assert len(local.games()) == 2
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert not local.games()
    assert last_exit(engine, want).save_seen


@as_root
@pytest.mark.parametrize("has_cgroups", [pytest.param(True, marks=with_cgroups), False])
async def test_a_fork_bomb_ends(local: LocalStage, monkeypatch: pytest.MonkeyPatch, has_cgroups: bool) -> None:
    """A game that forks as fast as it can, and ignores signals, is gone within moments of its grace and starts again
    as if nothing had been. By cgroup it has no larger share of the processor than another."""
    if not has_cgroups:
        monkeypatch.setattr("overworld.engines.local.engine.find_cgroups", Cgroups)
    engine = await local.engine()
    want = replace(local.want(), memory_mib=2048)
    user = Users(local.folder).of(want.number)
    assert user is not None
    bomb = (
        "import os, signal\nsignal.signal(15, signal.SIG_IGN)\nprint('ready to play', flush=True)\n"
        "while True:\n  try: os.fork()\n  except OSError: pass"
    )
    launch = local.launch(engine, want, "ignores-stop")
    bombing = replace(launch, arguments=("-I", "-c", bomb))
    await engine.apply(want, bombing)
    await reaches(engine, want, Phase.READY)
    await eventually(lambda: count_processes(user.uid) > 300, 20, "it forks")
    await engine.apply(replace(want, running=False), bombing)
    await reaches(engine, want, Phase.STOPPED)
    assert count_processes(user.uid) == 0
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    lines = Path(f"/proc/{local.games()[0].pid}/cgroup").read_text().splitlines()
    if has_cgroups and find_cgroups().cpu is not None:
        assert any("cpu" in line.split(":")[1].split(",") and want.server_id in line for line in lines)


def count_processes(uid: int) -> int:
    """How many living processes a user has."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += folder.stat().st_uid == uid and ") Z " not in (folder / "stat").read_text()
    return found


@with_cgroups
async def test_a_crash_of_a_game_with_children_takes_no_rights_from_the_next_run(local: LocalStage) -> None:
    """Started again after a crash, it can make processes as before."""
    engine = await local.engine()
    want, _ = await started(local, engine, "leaves-child")
    local.crash(want.server_id)
    await reaches(engine, want, Phase.WAITING)
    await reaches(engine, want, Phase.READY)
    assert len(local.games()) == 2


async def test_long_names_of_players_do_not_hide_what_is_used(local: LocalStage) -> None:
    """A full roster of the longest names in the widest letters still comes through."""
    engine = await local.engine()
    want = local.want()
    launch = local.launch(engine, want, "good")
    say = "import sys\nfor n in range(499): print(f'{n:03}' + '\U0001f600' * 400, 'joins')\nprint('ready to play')\n"
    wide = replace(launch.roster, joins=r"^(?P<name>\S+) joins$") if launch.roster is not None else None
    talking = replace(launch, arguments=("-I", "-c", f"{say}sys.stdout.flush()\nsys.stdin.readline()"), roster=wide)
    await engine.apply(want, talking)
    await reaches(engine, want, Phase.READY)
    usage = await engine.usage(want.server_id)
    assert usage is not None
    assert usage.roster is not None
    assert len(usage.roster) == 499
    assert {len(name) for name in usage.roster} == {64}


async def logging_server(local: LocalStage, trick: str) -> tuple[Want, Launch]:
    """A ready server whose log file was replaced by ``trick`` (a shell command in the world)."""
    engine = local.players[0].engine
    want, launch = await started(local, engine, "logs-to-file")
    world = Path(engine.layout(want.server_id, 1).world)
    subprocess.run(["sh", "-c", trick], cwd=world, check=True)
    if os.geteuid() == 0:
        user = Users(local.folder).of(want.number)
        assert user is not None
        for path in world.rglob("*"):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
    return want, launch


async def test_the_log_file_is_the_console_through_rotation_and_truncation(local: LocalStage) -> None:
    """A file moved away or cut short is followed on; its lines come once."""
    await local.engine()
    want, _ = await logging_server(local, "mv game.log old.log")
    console = local.console()
    for number, text in enumerate(["line one", "line two"]):
        console.send(want.server_id, f"say {text}")
        assert [line.text for line in await lines_are(console, want.server_id, number + 1)][-1] == text
    world = Path(local.players[0].engine.layout(want.server_id, 1).world)
    os.truncate(world / "game.log", 0)
    console.send(want.server_id, "say line three")
    texts = [line.text for line in await lines_are(console, want.server_id, 3)]
    assert texts == ["line one", "line two", "line three"]


@as_root
@pytest.mark.parametrize(
    "trick",
    [
        "rm game.log && ln -s {secret} game.log",
        "rm game.log && mkfifo game.log",
        "rm game.log && mkdir game.log",
    ],
)
async def test_a_hostile_log_file_is_not_read(local: LocalStage, trick: str) -> None:
    """No link is followed by the keeper, who is root; and nothing hangs."""
    engine = await local.engine()
    secret = local.folder.parent / "secret"
    secret.write_text("line of a secret\n")
    want, launch = await logging_server(local, trick.format(secret=secret))
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert not [line for line in local.console().lines(want.server_id, after=None, limit=1000) if "secret" in line.text]


async def test_links_in_a_world_lead_nowhere(local: LocalStage) -> None:
    """Neither measuring nor removing a world leaves it."""
    engine = await local.engine()
    treasure = local.folder.parent / "treasure"
    treasure.mkdir()
    (treasure / "gold").write_bytes(b"x" * 5 * 2**20)
    want, launch = await started(local, engine)
    world = Path(engine.layout(want.server_id, 1).world)
    (world / "away").symlink_to(treasure)
    (world / "loop").symlink_to(world)
    usage = await engine.usage(want.server_id)
    assert usage is not None
    assert usage.disk_mib is not None
    assert usage.disk_mib < 1
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    await engine.delete(Removal(want.server_id, 1))
    assert (treasure / "gold").exists()
    assert not world.exists()


async def test_a_world_nested_without_end_can_be_removed(local: LocalStage) -> None:
    """Deeper than any path may be long, with names that no text has, pipes and closed folders in it."""
    engine = await local.engine()
    want, launch = await started(local, engine)
    world = Path(engine.layout(want.server_id, 1).world)
    dig = (
        "import os\nfor n in range(5000): os.mkdir('d'); os.chdir('d')\n"
        "os.mkfifo(b'p\\xff\\n'); open('-rf', 'w').close(); os.mkdir('closed', 0)"
    )
    subprocess.run(["/usr/bin/python3", "-c", dig], cwd=world, check=True)
    usage = await engine.usage(want.server_id)
    assert usage is not None
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    await engine.delete(Removal(want.server_id, 1))
    assert not world.exists()


@as_root
async def test_what_is_mounted_in_a_world_is_not_removed(local: LocalStage) -> None:
    """It is not the game's; the removal says so, and can be repeated when it is gone."""
    engine = await local.engine()
    want = local.want(running=False)
    await engine.apply(want, local.launch(engine, want, "good"))
    world = Path(engine.layout(want.server_id, 1).world)
    (world / "mounted").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "none", world / "mounted"], check=False, capture_output=True)
    if mounted.returncode != 0:
        assert not IS_CI, mounted.stderr
        pytest.skip("NOT RUN: this machine lets us mount nothing")
    try:
        (world / "mounted" / "gold").touch()
        with pytest.raises(EngineUnavailable, match="mounted"):
            await engine.delete(Removal(want.server_id, 1))
        assert (world / "mounted" / "gold").exists()
    finally:
        subprocess.run(["umount", world / "mounted"], check=True)
    await engine.delete(Removal(want.server_id, 1))
    assert not world.exists()


@as_root
async def test_a_world_that_became_a_link_is_not_given_away(local: LocalStage) -> None:
    """A folder that is not ours any more is not handed to a game's user."""
    engine = await local.engine()
    want = local.want(running=False)
    launch = local.launch(engine, want, "good")
    await engine.apply(want, launch)
    world = Path(engine.layout(want.server_id, 1).world)
    treasure = local.folder.parent / "treasure"
    treasure.mkdir(mode=0o700)
    world.rmdir()
    world.symlink_to(treasure)
    with pytest.raises(EngineRefused):
        await engine.apply(replace(want, running=True), launch)
    assert treasure.stat().st_uid == 0


async def test_equal_wishes_write_nothing(local: LocalStage) -> None:
    """Neither while it runs nor while it is stopped."""
    engine = await local.engine()
    want, launch = await started(local, engine)

    def stamps() -> dict[Path, int]:
        return {path: path.lstat().st_ctime_ns for path in local.folder.rglob("*")}

    before = stamps()
    for _ in range(3):
        await engine.apply(want, launch)
    assert stamps() == before
    stopped = replace(want, running=False)
    await engine.apply(stopped, launch)
    await reaches(engine, want, Phase.STOPPED)
    await eventually(lambda: not local.keepers(), 5, "the keeper is gone")
    before = stamps()
    for _ in range(3):
        await engine.apply(stopped, launch)
    assert stamps() == before


async def test_without_cgroups_limits_and_ends_still_hold(local: LocalStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then rlimits hold memory, and the server's user (or the session) tells which processes are the game."""
    monkeypatch.setattr("overworld.engines.local.engine.find_cgroups", Cgroups)
    engine = await local.engine()
    want, launch = await started(local, engine, "leaves-child")
    assert len(local.games()) == 2
    limits = Path(f"/proc/{local.games()[0].pid}/limits").read_text()
    assert re.search(rf"Max data size +{(2 * want.memory_mib + 256) * 2**20} ", limits)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert not local.games()
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    local.keepers()[0].kill()
    await reaches(engine, want, Phase.STOPPED)
    assert not local.games()


@as_root
def test_two_installations_have_no_user_in_common(tmp_path: Path) -> None:
    """Each has a block of its own, which it finds again, also when two engines look at once."""
    blocks = set()
    for number in range(20):
        first, again = Users(tmp_path / str(number)).of(1), Users(tmp_path / str(number)).of(1)
        assert first == again
        assert first is not None
        assert first.uid > 1_879_048_192
        blocks.add(first.uid // BLOCK)
    assert len(blocks) > 15  # by chance all 20, but for 1 time in 14
