"""Which restic is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from overworld.domain.errors import SaveStoreRefused
from overworld.saves.program import find_restic, version_of


def pretend(folder: Path, says: str) -> Path:
    """A program that says what restic of some version says."""
    program = folder / "restic"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return program


def test_a_new_enough_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured one, else the one on PATH."""
    program = pretend(tmp_path, "restic 0.19.1 compiled with go1.26 on linux/amd64")
    assert version_of(program) == (0, 19, 1)
    assert find_restic(program) == program
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_restic() == program


@pytest.mark.parametrize("says", ["restic 0.14.0 compiled with go1.19", "not restic at all"])
def test_an_old_one_is_refused_by_name(tmp_path: Path, says: str) -> None:
    """With what is needed."""
    program = pretend(tmp_path, says)
    with pytest.raises(SaveStoreRefused, match=r"0\.18 or newer") as caught:
        find_restic(program)
    assert str(program) in caught.value.detail
    assert caught.value.reason == "NoRestic"


def test_a_program_that_is_not_there_is_no_restic(tmp_path: Path) -> None:
    """Nor is a folder."""
    assert version_of(tmp_path / "nothing") is None
    assert version_of(tmp_path) is None
