"""The mark of a recovery that was begun on a data folder and not ended: nothing is started there until it is."""

from __future__ import annotations

from pathlib import Path

from overworld.domain.errors import Conflict


def marker_in(data_folder: Path) -> Path:
    """The file, which is there from the first step of a recovery to its last."""
    return data_folder / "recovering.json"


def check_no_recovery(data_folder: Path) -> None:
    """Raises Conflict while a recovery is not ended: its worlds are not back yet."""
    if marker_in(data_folder).exists():
        raise Conflict(
            f"A recovery was begun on {data_folder} and not ended: run `overworld recover` again, which goes on where"
            " it was interrupted."
        )
