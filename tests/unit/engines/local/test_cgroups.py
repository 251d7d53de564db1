"""Limits by cgroup, in both versions."""

from __future__ import annotations

from pathlib import Path

from overworld.engines.local.cgroups import PROCESSES, Cgroups


def test_without_cgroups_there_are_none() -> None:
    """Then rlimits have to do."""
    assert Cgroups().of_server("s", 64) == []


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    """Memory first: its members are the game. Swap is limited only where the kernel accounts for it."""
    (tmp_path / "memory.limit_in_bytes").touch()
    groups = Cgroups(memory=tmp_path, pids=tmp_path / "pids", cpu=tmp_path / "cpu").of_server("s", 64)
    assert [group["folder"] for group in groups] == [str(tmp_path / "s"), f"{tmp_path}/pids/s", f"{tmp_path}/cpu/s"]
    assert groups[0]["files"] == {"memory.limit_in_bytes": str(64 * 2**20)}
    assert groups[1]["files"] == {"pids.max": str(PROCESSES)}
    assert groups[2]["files"] == {}


def test_version_2_has_one_folder(tmp_path: Path) -> None:
    """With everything in it."""
    for name in ("memory.max", "memory.swap.max", "pids.max"):
        (tmp_path / name).touch()
    (group,) = Cgroups(memory=tmp_path, is_unified=True).of_server("s", 64)
    assert group["files"] == {"memory.max": str(64 * 2**20), "memory.swap.max": "0", "pids.max": str(PROCESSES)}
