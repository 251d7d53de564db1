"""The commands of saves: which save is meant."""

from __future__ import annotations

import pytest

from unit.cli.conftest import Run
from unit.cli.stage import Reply, Stage, operation, page, problem, server

SERVER, SAVE = "bcdfghjkmnpq", "svbcdfghjkmn"


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
