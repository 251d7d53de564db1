"""Nodes over HTTP: what an admin sees, and the word that frees a lost node's servers."""

from __future__ import annotations

import pytest

from integration.web.clients import Client
from integration.web.nodes import NODE, lay_node
from overworld.domain.nodes import NodeState
from overworld.store.database import Database
from overworld.store.nodes import read_words


def test_an_admin_sees_the_nodes(admin: Client, database: Database) -> None:
    """None without a cluster; then each with its state and a sentence."""
    assert admin.get("/nodes").get_json() == {"items": [], "next_page_token": None}
    lay_node(database, NodeState.DRAINING)
    (shown,) = admin.get("/nodes").get_json()["items"]
    assert admin.get(f"/nodes/{NODE}").get_json() == shown
    assert (shown["name"], shown["state"], shown["message"], shown["servers"], shown["word"]) == (
        NODE,
        "draining",
        "It is draining.",
        0,
        None,
    )
    assert admin.get("/nodes/another").status_code == 404


@pytest.mark.parametrize("state", [NodeState.SILENT, NodeState.UNCONFIRMED, NodeState.NEEDS_WORD, NodeState.LOST])
def test_a_word_on_a_silent_node_is_kept_with_who_said_it(admin: Client, database: Database, state: NodeState) -> None:
    """Saying it again is as good as once."""
    lay_node(database, state)
    for _ in range(2):
        answer = admin.post(f"/nodes/{NODE}/confirm-lost", json={"uid": "uid-1"})
        assert answer.status_code == 200
        assert answer.get_json()["word"]["account_id"] == admin.account_id
    with database.transaction() as tx:
        assert list(read_words(tx)) == ["uid-1"]


@pytest.mark.parametrize("state", [NodeState.READY, NodeState.DRAINING, NodeState.RETURNED])
def test_no_word_counts_on_a_node_that_answers(admin: Client, database: Database, state: NodeState) -> None:
    """Its games write their worlds."""
    lay_node(database, state)
    answer = admin.post(f"/nodes/{NODE}/confirm-lost", json={"uid": "uid-1"})
    assert answer.status_code == 409
    assert "answers" in answer.get_json()["detail"]
    with database.transaction() as tx:
        assert read_words(tx) == {}


def test_a_word_is_on_the_node_that_was_seen(admin: Client, database: Database) -> None:
    """Not on a later one of the same name."""
    lay_node(database, NodeState.NEEDS_WORD, uid="uid-2")
    answer = admin.post(f"/nodes/{NODE}/confirm-lost", json={"uid": "uid-1"})
    assert answer.status_code == 409
    assert "another one by now" in answer.get_json()["detail"]
