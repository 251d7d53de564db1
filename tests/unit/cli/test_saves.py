"""The commands of saves: which save is meant, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unit.cli.conftest import Run
from unit.cli.stage import Json, Reply, Stage, operation, page, problem, server
from unit.cli.terminal import run_at_terminal

SERVER, SAVE = "bcdfghjkmnpq", "svbcdfghjkmn"


def saved(**changes: object) -> Json:
    """A save of that server."""
    return {
        "id": SAVE,
        "server_id": SERVER,
        "server_name": "meadow",
        "state": "kept",
        "reason": "before_restore",
        "quiet": "quieted",
        "bytes_total": 1,
        "bytes_new": 1,
        "proven_at": None,
        "pinned": False,
        "label": "",
        "error": "",
        "created_at": "2026-01-02T03:04:05Z",
        **changes,
    }


def entry(path: str, kind: str = "file") -> Json:
    """A file of it."""
    name = path.rpartition("/")[2]
    return {"name": name, "path": path, "type": kind, "mode": "0600", "size_bytes": 3, "modified_at": None}


@pytest.mark.parametrize(("words", "asked"), [(("meadow",), None), (("meadow", SAVE), SAVE), ((SAVE,), SAVE)])
def test_prove_takes_a_server_or_a_save(stage: Stage, run: Run, words: tuple[str, ...], asked: str | None) -> None:
    """A save alone says whose it is; the newest is meant where none is named."""
    stage.lay("GET", f"/servers/{SAVE}", problem(404, "not-found", "There is no such thing"))
    stage.lay("GET", "/servers", page(*([server()] if "meadow" in words else [])))
    stage.lay("GET", f"/saves/{SAVE}", Reply({"id": SAVE, "server_id": SERVER}))
    stage.lay("POST", f"/servers/{SERVER}/prove", Reply(operation("drill", "succeeded"), 202))
    stage.lay("GET", "/operations/opbcdfghjkmn", Reply(operation("drill", "succeeded")))
    result = run("saves", "prove", *words)
    assert result.exit_code == 0, result.output
    assert stage.seen("POST", f"/servers/{SERVER}/prove")[0].body == {"save_id": asked}


def test_prove_of_what_is_neither(stage: Stage, run: Run) -> None:
    """What is no server and no save is said to be no server."""
    for path in (f"/servers/{SAVE}", f"/saves/{SAVE}"):
        stage.lay("GET", path, problem(404, "not-found", "There is no such thing"))
    stage.lay("GET", "/servers", page())
    result = run("saves", "prove", SAVE)
    assert result.exit_code == 3
    assert f"There is no server {SAVE}" in result.stderr


def test_a_restore_says_which_save_latest_is(stage: Stage, run: Run) -> None:
    """The newest may be the broken world that the last restore saved first: its reason and stillness are shown."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", f"/servers/{SERVER}/saves", page(saved()))
    stage.lay("POST", f"/servers/{SERVER}/restore", Reply(operation("restore"), 202))
    result = run("restore", "meadow", "latest", "--yes", "--no-wait")
    assert result.exit_code == 0, result.output
    assert "the whole world of 2026-01-02 03:04:05 UTC (before_restore, quieted) into 'meadow'" in result.stderr


def test_a_no_is_no_interruption(stage: Stage, environment: dict[str, str | None]) -> None:
    """Nothing is asked of the API, and it says so."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", f"/servers/{SERVER}/saves", page(saved()))
    with run_at_terminal("restore", "meadow", "latest", env=environment) as terminal:
        terminal.wait_for("[y/N]")
        terminal.type("n\n")
        assert terminal.wait_for_end() == 1
        assert "Nothing was done." in terminal.screen
        assert "Interrupted" not in terminal.screen
    assert not stage.seen("POST", f"/servers/{SERVER}/restore")


def test_saves_of_a_server_that_is_gone_are_found_by_its_name(stage: Stage, run: Run) -> None:
    """The server is purged, its saves are still there."""
    stage.lay("GET", "/servers", page())
    stage.lay("GET", "/saves", page(saved(), saved(id="svother", server_name="other")))
    result = run("saves", "list", "meadow")
    assert SAVE in result.stdout
    assert "svother" not in result.stdout
    assert run("saves", "list", "nobody").exit_code == 3


@pytest.mark.parametrize(
    ("words", "columns", "titles"),
    [(("meadow",), 48, ["SAVE", "TAKEN", "STILL"]), ((), 80, ["SAVE", "SERVER", "TAKEN", "STATE", "STILL", "PROVEN"])],
)
def test_a_narrow_terminal_shows_what_a_restore_needs(
    stage: Stage, environment: dict[str, str | None], words: tuple[str, ...], columns: int, titles: list[str]
) -> None:
    """Whose save it is, where there are several, and whether it held still, before all else."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", "/saves", page(saved(), saved(label="a party to which many people came")))
    with run_at_terminal("saves", "list", *words, env={**environment, "NO_COLOR": "1"}, columns=columns) as terminal:
        assert terminal.wait_for_end() == 0
        assert re.sub(r"\x1b\[\d*m", "", terminal.screen.splitlines()[0]).split() == titles


def test_an_edit_of_nothing_is_refused(stage: Stage, run: Run) -> None:
    """It does not say that the save is what it was."""
    assert run("saves", "edit", SAVE).exit_code == 2
    assert not stage.requests
    stage.lay("PATCH", f"/saves/{SAVE}", Reply(saved(label="party")))
    assert "not pinned and labelled 'party'" in run("saves", "edit", SAVE, "--label", "party").stdout


@pytest.mark.parametrize(("path", "kind", "name"), [("world/a", "file", "a"), ("world/b", "folder", "b.zip")])
def test_files_are_taken_out_of_a_save(stage: Stage, run: Run, tmp_path: Path, path: str, kind: str, name: str) -> None:
    """A file as it is, a folder as an archive, without a restore."""
    stage.lay("GET", f"/saves/{SAVE}/files", page(entry("world/c"), entry(path, kind)))
    stage.lay("GET", f"/saves/{SAVE}/content", Reply(raw=b"all"))
    result = run("saves", "get", SAVE, path, str(tmp_path))
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).read_bytes() == b"all"
    asked = stage.seen("GET", f"/saves/{SAVE}/content")[0].query
    assert asked == {"path": [path]} | ({"archive": ["zip"]} if kind == "folder" else {})
    assert run("saves", "get", SAVE, "world/none", str(tmp_path)).exit_code == 3


def test_all_of_a_save_is_an_archive(stage: Stage, run: Run, tmp_path: Path) -> None:
    """Named after the save."""
    stage.lay("GET", f"/saves/{SAVE}/content", Reply(raw=b"all"))
    assert run("saves", "get", SAVE, "", str(tmp_path)).exit_code == 0
    assert (tmp_path / f"{SAVE}.zip").read_bytes() == b"all"


def test_a_save_that_failed_leads_to_its_events(stage: Stage, run: Run) -> None:
    """What the game printed tells nothing of the save store."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("POST", f"/servers/{SERVER}/saves", Reply(operation("save"), 202))
    stage.lay("GET", "/operations/opbcdfghjkmn", Reply(operation("save", "failed")))
    result = run("save", "meadow")
    assert result.exit_code == 1
    assert f"overworld events {SERVER}" in result.stderr
    assert "logs" not in result.stderr


@pytest.mark.parametrize("value", ["yes", "no"])
def test_a_policy_takes_what_it_prints(stage: Stage, run: Run, value: str) -> None:
    """``drill: no`` is shown, so ``drill=no`` is understood."""
    policy = dict.fromkeys(("cron", "time_zone", "keep_last", "quota_mib", "next_at")) | {"drill": value == "yes"}
    policy["installed"] = {"cron": "", "time_zone": "UTC", "keep_last": 6, "quota_mib": None}
    stage.lay("GET", "/servers", page(server()))
    stage.lay("PATCH", f"/servers/{SERVER}/save-policy", Reply(policy))
    result = run("saves", "policy", "meadow", "--set", f"drill={value}")
    assert f"drill:     {value}" in result.stdout
    assert "keep_last: 6 (as installed)" in result.stdout
    assert "cron:      never (as installed)" in result.stdout
    assert stage.seen("PATCH", f"/servers/{SERVER}/save-policy")[0].body == {"drill": value == "yes"}


@pytest.mark.parametrize("change", ["keep_lats=3", "keep_last"])
def test_a_change_that_cannot_be_says_what_can(run: Run, change: str) -> None:
    """Nothing is sent."""
    result = run("saves", "policy", "meadow", "--set", change)
    assert result.exit_code in {2, 3}
    assert "keep_last" in result.stderr
