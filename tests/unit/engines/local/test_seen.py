"""What a keeper wrote, read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from overworld.engines.local.seen import read_keeper_state


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"phase": "dancing"}'])
def test_a_damaged_state_is_none(tmp_path: Path, content: str) -> None:
    """A server whose state cannot be read is one without a process; locks still guard its world."""
    (tmp_path / "state.json").write_text(content)
    assert read_keeper_state(tmp_path) is None
