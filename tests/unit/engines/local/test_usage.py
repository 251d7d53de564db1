"""Measuring what a game uses, however large it makes it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from overworld.engines.local.usage import WALKS_AT_ONCE, DiskUsage
from waiting import wait_until


def test_disk_is_what_the_files_take(tmp_path: Path) -> None:
    """In MiB, and what was measured stands for a while."""
    disk = DiskUsage()
    (tmp_path / "world").write_bytes(b"x" * 3 * 2**20)
    first = disk.measure(tmp_path)
    assert first is not None
    assert 3 <= first < 4
    (tmp_path / "more").write_bytes(b"x" * 3 * 2**20)
    assert disk.measure(tmp_path) == first


def test_huge_worlds_take_few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A world that is being walked is not walked again, and others wait for no thread; closing ends the walks."""
    goes_on = threading.Event()
    scandir = os.scandir

    def slow_scandir(path: str) -> object:
        goes_on.wait(20)
        return scandir(path)

    worlds = [tmp_path / str(number) for number in range(WALKS_AT_ONCE + 1)]
    for world in worlds:
        (world / "inner").mkdir(parents=True)
    monkeypatch.setattr("overworld.engines.local.usage.os.scandir", slow_scandir)
    disk = DiskUsage()
    seen: list[float | None] = []
    walks = [threading.Thread(target=lambda w=world: seen.append(disk.measure(w))) for world in worlds[:-1]]
    for walk in walks:
        walk.start()
    wait_until(lambda: len(disk._walked) == WALKS_AT_ONCE, 5, "both walks have begun")
    assert disk.measure(worlds[0]) is None
    assert disk.measure(worlds[-1]) is None
    disk.close()
    goes_on.set()
    for walk in walks:
        walk.join(5)
    assert seen == [None] * WALKS_AT_ONCE
