"""What a save leaves out, however hostile the world is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from overworld.domain.errors import EngineRefused, NoSuchSave, SaveError
from overworld.saves.base import Repository
from overworld.worker.placing import find_in_save, left_out, put_in_place
from overworld.worker.snapshots import STAGING


def test_patterns_that_no_program_could_be_told_are_refused() -> None:
    """A game (or an archive) may hold as many databases as it likes; that is its owner's to mend, no fault of ours."""
    many = [f"{'d' * 200}/{number}.sqlite" for number in range(1000)]
    patterns = left_out(["/cache"], many)
    assert len(patterns) == 2 + 4 * len(many)
    subprocess.run(["/bin/true", *patterns], check=True)
    with pytest.raises(SaveError, match="2000 databases"):
        left_out(["/cache"], many * 2)


@pytest.mark.parametrize("path", [STAGING, f"{STAGING}/map.sqlite"])
async def test_the_folder_of_copies_is_no_part_of_a_world(path: str) -> None:
    """A restore of it alone would put the copies where they belong, and then miss the folder."""
    store: Any = None  # it is not even asked
    with pytest.raises(NoSuchSave):
        await find_in_save(store, Repository("nowhere", "secret"), "abcdef01", [path])


def test_what_the_system_refuses_is_told_in_words(tmp_path: Path) -> None:
    """Whoever brings worlds back, of one server or of all, knows one kind of error for a world that is odd."""
    for name in ("part", "world"):
        (tmp_path / name).mkdir()
    with pytest.raises(EngineRefused, match="There is no such file"):
        put_in_place(tmp_path / "part", tmp_path / "world", ["gone"])
