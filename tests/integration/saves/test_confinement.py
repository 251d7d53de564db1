"""The program that saves reaches what it was given and nothing else, dies with its parent, and shows no secret."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from overworld import confinement
from overworld.saves.base import Repository
from overworld.saves.restic import Restic
from waiting import eventually

from .conftest import PASSWORD

_CREATE_RULESET = 444  # asked for its version: what the kernel's Landlock can do
HAS_LANDLOCK = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, 1) >= 2
confined = pytest.mark.skipif(
    not HAS_LANDLOCK and not os.environ.get("CI"), reason="NOT RUN: this kernel has no Landlock (CI requires it)"
)
SYSTEM = ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/dev/null"]


def run(read: list[str], write: list[str], *program: str) -> subprocess.CompletedProcess[str]:
    """A program behind the launcher."""
    words = [str(os.getpid()), json.dumps([*SYSTEM, *read]), json.dumps(write), *program]
    return subprocess.run(
        [sys.executable, "-I", "-S", confinement.__file__, *words], capture_output=True, text=True, check=False
    )


@confined
def test_links_out_of_the_world_lead_nowhere(tmp_path: Path) -> None:
    """Whether the last part of a path is the link or one before it; as root too."""
    world, other = tmp_path / "world", tmp_path / "other"
    world.mkdir()
    other.mkdir()
    (world / "mine").write_text("mine")
    (other / "secret").write_text("secret")
    (world / "file").symlink_to(other / "secret")
    (world / "folder").symlink_to(other)
    assert run([str(world)], [], "/bin/cat", str(world / "mine")).stdout == "mine"
    for path in (world / "file", world / "folder" / "secret", other / "secret", Path("/proc/1/environ")):
        result = run([str(world)], [], "/bin/cat", str(path))
        assert (result.returncode, result.stdout) == (1, ""), path
        assert "Permission denied" in result.stderr


def test_where_memory_runs_out_it_goes_first() -> None:
    """It needs as much as a world has files, which is up to the game: no other game and no database pays for that."""
    assert run(["/proc"], [], "/bin/cat", "/proc/self/oom_score_adj").stdout == "1000\n"


@confined
def test_what_may_be_read_may_not_be_written(tmp_path: Path) -> None:
    """A save cannot change the world; a restore writes its target and makes hard links between its folders."""
    world, target = tmp_path / "world", tmp_path / "target"
    world.mkdir()
    (target / "a").mkdir(parents=True)
    (target / "b").mkdir()
    (target / "a" / "file").touch()
    assert run([str(world)], [str(target)], "/bin/touch", str(world / "new")).returncode == 1
    assert run([str(world)], [str(target)], "/bin/touch", str(target / "new")).returncode == 0
    assert run([], [str(target)], "/bin/ln", str(target / "a" / "file"), str(target / "b" / "file")).returncode == 0
    assert list(world.iterdir()) == []


def test_an_orphan_does_not_begin(tmp_path: Path) -> None:
    """A launcher whose parent died before it could ask to die with it ends at once."""
    words = [sys.executable, "-I", "-S", confinement.__file__, "1", "[]", "[]", "/bin/touch", str(tmp_path / "made")]
    assert subprocess.run(words, check=False).returncode == 1
    assert not (tmp_path / "made").exists()


async def test_no_secret_is_in_the_arguments(
    store: Restic, remote: Repository, world: Path, restics: Callable[[], list[psutil.Process]]
) -> None:
    """Neither the password nor the store's key, while it runs."""
    (world / "large").write_bytes(os.urandom(50_000_000))
    saving = asyncio.create_task(store.save(remote, world))
    (process,) = await eventually(restics, 20, "restic runs")
    arguments = " ".join(process.cmdline())
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)
    assert "backup" in arguments
    assert [secret for secret in (PASSWORD, *remote.environment.values()) if secret in arguments] == []
