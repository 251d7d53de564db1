"""Settings come from the environment alone, and a wrong one says what would be right."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from overworld.mistakes import mistakes
from overworld.settings import Settings


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90", timedelta(seconds=90)),
        ("0.5", timedelta(seconds=0.5)),
        ("PT90S", timedelta(seconds=90)),
        ("P7D", timedelta(7)),
    ],
)
def test_durations(monkeypatch: pytest.MonkeyPatch, text: str, meant: timedelta) -> None:
    """A duration is plain seconds or ISO 8601."""
    monkeypatch.setenv("OVERWORLD_RETENTION", text)
    assert Settings().retention == meant


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RETENTION", "-P1D"),
        ("RETENTION", "-3"),
        ("RETENTION", "a week"),
        ("RESYNC_INTERVAL", "0"),
        ("MONITOR_INTERVAL", "0"),
        ("LISTEN_PORT", "0"),
        ("LISTEN_PORT", "65536"),
        ("PORT_RANGE", "80-90"),
        ("PORT_RANGE", "31000-30000"),
        ("PORT_RANGE", "30000"),
        ("ENGINE", "moon"),
        ("QUOTA_SERVERS", "-1"),
        ("LOG_LEVEL", "loud"),
        ("METRICS_LISTEN", "9100"),
    ],
)
def test_wrong_settings_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """A value that cannot work stops the start and names the setting."""
    monkeypatch.setenv(f"OVERWORLD_{name}", text)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name.lower(),)]


@pytest.mark.parametrize(
    ("engine", "store", "saves"),
    [("local", None, True), ("kube", None, False), ("kube", "s3:s3.example.com/b", True), ("memory", None, False)],
)
def test_who_saves(monkeypatch: pytest.MonkeyPatch, engine: str, store: str | None, saves: bool) -> None:
    """One machine always does; a cluster only into a store that all its nodes reach."""
    monkeypatch.setenv("OVERWORLD_ENGINE", engine)
    if store is not None:
        monkeypatch.setenv("OVERWORLD_SAVE_STORE", store)
    assert Settings().has_workers is saves


def test_a_cluster_saves_into_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is told what would do."""
    monkeypatch.setenv("OVERWORLD_ENGINE", "kube")
    monkeypatch.setenv("OVERWORLD_SAVE_STORE", "local:/saves")
    with pytest.raises(ValidationError) as wrong:
        Settings()
    ((name, says),) = mistakes(wrong.value)
    assert name == "OVERWORLD_SAVE_STORE"
    assert "it must be s3:" in says


def test_folders_are_separated_by_colons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several catalogue folders fit into one variable, as on PATH; empty parts mean nothing."""
    monkeypatch.setenv("OVERWORLD_CATALOGUE_FOLDERS", "/a/games::games")
    assert Settings().catalogue_folders == (Path("/a/games"), Path("games"))


def test_ports_include_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last port of the range may be used."""
    monkeypatch.setenv("OVERWORLD_PORT_RANGE", "30000-30002")
    assert list(Settings().ports) == [30000, 30001, 30002]
