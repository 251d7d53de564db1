"""nodes, node show and node confirm-lost."""

from __future__ import annotations

import json

from unit.cli.conftest import Run
from unit.cli.stage import Reply, Stage

NODE = {
    "name": "pool-1",
    "uid": "uid-1",
    "state": "needs_word",
    "message": "It has not answered since noon.",
    "since": "2026-01-02T12:00:00Z",
    "servers": 3,
    "provider_id": "",
    "word": None,
    "updated_at": "2026-01-02T12:01:00Z",
}
SAID = {**NODE, "word": {"account_id": "accountaaaaa", "said_at": "2026-01-02T12:05:00Z"}}


def test_nodes_are_listed(stage: Stage, run: Run) -> None:
    """With what each waits for; as JSON too."""
    stage.lay("GET", "/nodes", Reply({"items": [NODE], "next_page_token": None}))
    result = run("nodes")
    assert result.exit_code == 0, result.output
    assert "pool-1" in result.stdout
    assert "It has not answered since noon." in result.stdout
    assert json.loads(run("nodes", "-o", "json").stdout)["items"] == [NODE]


def test_one_node_is_shown(stage: Stage, run: Run) -> None:
    """Everything that is known of it."""
    stage.lay("GET", "/nodes/pool-1", Reply(SAID))
    result = run("node", "show", "pool-1")
    assert result.exit_code == 0, result.output
    assert "by accountaaaaa" in result.stdout


def test_a_node_is_confirmed_lost_only_by_somebody_who_was_asked(stage: Stage, run: Run) -> None:
    """Without --yes nobody but a person at a terminal can say it; what is sent names the node that was seen."""
    stage.lay("GET", "/nodes/pool-1", Reply(NODE))
    stage.lay("POST", "/nodes/pool-1/confirm-lost", Reply(SAID))
    refused = run("node", "confirm-lost", "pool-1")
    assert refused.exit_code == 2
    assert "made sure that the machine is off" in refused.stderr
    assert stage.seen("POST", "/nodes/pool-1/confirm-lost") == []
    result = run("node", "confirm-lost", "pool-1", "--yes")
    assert result.exit_code == 0, result.output
    assert stage.seen("POST", "/nodes/pool-1/confirm-lost")[0].body == {"uid": "uid-1"}
    assert "said to be off" in result.stdout
