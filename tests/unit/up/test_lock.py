"""The data folder has one owner, or there is a sentence that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from overworld.domain.errors import Unavailable
from overworld.up.lock import sole_owner


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """As in a container, whose root cannot be written: with the setting that helps."""
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="Set OVERWORLD_DATA_FOLDER"), sole_owner(tmp_path / "file" / "data"):
        pass
