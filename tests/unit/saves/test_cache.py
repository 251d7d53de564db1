"""The cache takes no more than it may."""

from __future__ import annotations

import os
from pathlib import Path

from overworld.saves.cache import trim_cache


def fill(folder: Path, name: str, age: int) -> Path:
    """A repository's part, last used some seconds after the epoch."""
    part = folder / (name * 64)
    (part / "index").mkdir(parents=True)
    (part / "index" / "x").write_bytes(b"x" * 100_000)
    os.utime(part, (age, age))
    return part


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    """Until the rest fits; what is no repository's part is left alone."""
    oldest, newest, middle = fill(tmp_path, "a", 1), fill(tmp_path, "b", 3), fill(tmp_path, "c", 2)
    (tmp_path / "temporary").mkdir()
    part = trim_cache(tmp_path, 250_000)
    assert part >= 100_000
    assert (oldest.exists(), middle.exists(), newest.exists()) == (False, True, True)
    assert trim_cache(tmp_path, 2 * part) == 0
    assert (oldest.exists(), middle.exists(), newest.exists()) == (False, True, True)
    trim_cache(tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]
    assert trim_cache(tmp_path, 0) == 0


def test_no_cache_is_an_empty_one(tmp_path: Path) -> None:
    """Before the first save."""
    assert trim_cache(tmp_path / "none", 0) == 0
