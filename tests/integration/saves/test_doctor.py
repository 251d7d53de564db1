"""What the doctor finds of the save store: a real S3 server, and what happens to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from overworld.cli.doctor import Finding, Severity
from overworld.doctor import checks
from overworld.settings import Settings
from s3 import S3


@pytest.fixture
def settings(s3: S3, tmp_path: Path, restic_program: Path) -> Settings:
    """An installation that saves there."""
    return Settings(data_folder=tmp_path / "data", restic=restic_program, **s3.settings())  # type: ignore[arg-type]


def find(settings: Settings) -> Finding:
    """What it says of saves."""
    return next(check for check in checks(settings, {}) if check.name == "saves").run()


def test_a_store_that_answers_is_well(settings: Settings) -> None:
    """Also where nothing is in it yet; and nothing is made by looking."""
    found = find(settings)
    assert found.severity is Severity.OK, found
    assert not settings.data_folder.exists()


def test_a_store_that_is_away_is_told(s3: S3, settings: Settings) -> None:
    """Within seconds, whatever patience saves have with it."""
    s3.stop()
    found = find(settings)
    assert found.severity is Severity.BAD
    assert "does not answer" in found.says


def test_a_key_that_the_store_does_not_know_is_told(s3: S3, settings: Settings) -> None:
    """With what mends it."""
    s3.stop()
    s3.start(secret="another")
    found = find(settings)
    assert found.severity is Severity.BAD
    assert "right key id" in found.says


def test_a_bucket_that_is_gone_is_told(s3: S3, settings: Settings) -> None:
    """It is not taken for an empty one."""
    s3.bucket.rmdir()
    found = find(settings)
    assert found.severity is Severity.BAD, found
    assert "bucket" in found.says
