"""What the doctor finds on this machine, without an Overworld that runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overworld import confinement
from overworld.cli.doctor import Finding, Severity
from overworld.doctor import checks
from overworld.settings import Settings


def find(name: str, settings: Settings) -> Finding:
    """One check's finding."""
    return next(check for check in checks(settings, {}) if check.name == name).run()


def test_a_machine_without_an_installation_is_not_broken(tmp_path: Path) -> None:
    """Before the first `overworld up` nothing is lost: both findings say what makes it."""
    for name in ("data folder", "database"):
        finding = find(name, Settings(data_folder=tmp_path / "none", database_url=None))
        assert finding.severity is Severity.WARNING
        assert "overworld up" in finding.mend


def test_a_database_that_does_not_answer_says_why(tmp_path: Path) -> None:
    """The operator reads the driver's own words, without the password."""
    url = "postgresql://ow:s3cret@127.0.0.1:9/overworld"
    finding = find("database", Settings(data_folder=tmp_path, database_url=url))
    assert finding.severity is Severity.BAD
    assert "refused" in finding.says
    assert "s3cret" not in finding.says


def test_a_game_counts_as_here_with_all_that_it_requires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program alone is not enough: the npm package of the Minecraft-protocol server is looked for too."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "node").write_text("#!/bin/sh\n")
    (programs / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    settings = Settings(data_folder=tmp_path, programs_folder=tmp_path)
    assert "minecraft: " in find("games", settings).mend
    package = tmp_path / "node_modules" / "flying-squid" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text("{}")
    assert "minecraft: " not in find("games", settings).mend


def test_saves_that_cannot_be_taken_are_told(tmp_path: Path) -> None:
    """Without a restic that is new enough, or to a store that cannot be; and a warning about the same disk."""
    missing = find("saves", Settings(data_folder=tmp_path, restic=tmp_path / "none"))
    assert missing.severity is Severity.BAD
    assert "restic" in missing.mend
    assert find("saves", Settings(data_folder=tmp_path, save_store="ftp:x")).severity is Severity.BAD


def test_a_kernel_that_cannot_confine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves work there, but a link that a game swaps in might be followed."""
    monkeypatch.setattr(confinement, "is_possible", lambda: False)
    finding = find("isolation", Settings(data_folder=tmp_path))
    assert finding.severity is Severity.WARNING
    if os.geteuid() == 0 and "memory cgroup" not in finding.says:
        assert "Landlock" in finding.says
        assert "landlock" in finding.mend
