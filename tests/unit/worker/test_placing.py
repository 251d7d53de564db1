"""What a save leaves out, however hostile the world is."""

from __future__ import annotations

import subprocess

import pytest

from overworld.domain.errors import SaveError
from overworld.worker.placing import left_out


def test_patterns_that_no_program_could_be_told_are_refused() -> None:
    """A game (or an archive) may hold as many databases as it likes; that is its owner's to mend, no fault of ours."""
    many = [f"{'d' * 200}/{number}.sqlite" for number in range(1000)]
    patterns = left_out(["/cache"], many)
    assert len(patterns) == 2 + 4 * len(many)
    subprocess.run(["/bin/true", *patterns], check=True)
    with pytest.raises(SaveError, match="2000 databases"):
        left_out(["/cache"], many * 2)
