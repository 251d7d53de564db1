"""Events and operations: what happened to which server."""

from __future__ import annotations

import pytest

from unit.cli.conftest import Run
from unit.cli.stage import Json, Stage, operation, page, server

SERVER, TWIN, GONE = "bcdfghjkmnpq", "ccdfghjkmnpq", "dcdfghjkmnpq"


def event(server_id: str) -> Json:
    """Something that happened to it."""
    return {
        "id": 1,
        "server_id": server_id,
        "at": "2026-01-02T03:04:05Z",
        "level": "info",
        "reason": "Saved",
        "message": f"of {server_id[:2]}",
    }


@pytest.mark.parametrize("command", ["events", "operations"])
def test_servers_are_called_by_their_names(stage: Stage, run: Run, command: str) -> None:
    """Nobody knows ids by heart; one that is gone, or that shares its name, has nothing else."""
    ids = [SERVER, TWIN, GONE]
    stage.lay("GET", "/servers", page(server(), server(id=TWIN, name="twin")), page(server(id="x", name="twin")))
    stage.lay("GET", "/events", page(*map(event, ids)))
    stage.lay("GET", "/operations", page(*(operation("save", "succeeded", server_id=each) for each in ids)))
    result = run(command)
    assert result.exit_code == 0, result.output
    for word in ("meadow", TWIN, GONE):
        assert f" {word} " in result.stdout
    assert SERVER not in result.stdout


def test_of_one_server_nothing_more_is_asked(stage: Stage, run: Run) -> None:
    """Its name is known; and JSON is the API's own."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", f"/servers/{SERVER}/events", page(event(SERVER)))
    assert " meadow " in run("events", "meadow").stdout
    assert len(stage.requests) == 2
    assert SERVER in run("events", "meadow", "-o", "json").stdout
