"""Nodes, words on them, and who plays, as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from overworld.domain.accounts import Account
from overworld.domain.activity import Activity, Presence
from overworld.domain.events import NewEvent
from overworld.domain.nodes import NodeRecord, NodeState, NodeWord
from overworld.domain.servers import Server
from overworld.store.activity import write_activities
from overworld.store.database import Database, Transaction
from overworld.store.events import list_events
from overworld.store.lease import CONTROLLER, LeaseLost, acquire
from overworld.store.nodes import (
    find_node,
    list_nodes,
    read_game,
    read_presences,
    read_words,
    write_nodes,
    write_word,
)


@pytest.fixture
def epoch(database: Database) -> int:
    """A controller leads."""
    with database.transaction() as tx:
        lease = acquire(tx, CONTROLLER, "tests", timedelta(minutes=1))
    assert lease is not None
    return lease.epoch


def record(name: str, now: datetime, state: NodeState = NodeState.READY) -> NodeRecord:
    """A node."""
    return NodeRecord(name, f"uid-{name}", state, "It answers.", now, "azure:///x")


def store(tx: Transaction, epoch: int, *records: NodeRecord, now: datetime) -> None:
    """Write nodes and nothing else."""
    write_nodes(tx, epoch, records, forget=(), forget_words=(), events=(), now=now)


def test_nodes_are_read_as_they_were_written(database: Database, epoch: int, now: datetime) -> None:
    """By name; a later record takes the place of an earlier; what is forgotten is gone."""
    later = replace(record("a", now), state=NodeState.LOST, message="It is lost.", uid="other")
    with database.transaction() as tx:
        store(tx, epoch, record("b", now), record("a", now), now=now)
        assert [view.record for view in list_nodes(tx)] == [record("a", now), record("b", now)]
        store(tx, epoch, later, now=now)
        found = find_node(tx, "a")
        assert found is not None
        assert (found.record, found.updated_at, found.word, found.servers) == (later, now, None, 0)
        write_nodes(tx, epoch, (), forget=("a",), forget_words=(), events=(), now=now)
        assert find_node(tx, "a") is None
        assert [view.record.name for view in list_nodes(tx)] == ["b"]


def test_only_the_leader_writes_nodes(database: Database, epoch: int, now: datetime) -> None:
    """One that was replaced writes nothing."""
    with pytest.raises(LeaseLost), database.transaction() as tx:
        store(tx, epoch + 1, record("a", now), now=now)
    with database.transaction() as tx:
        assert list_nodes(tx) == []


def test_a_word_is_of_one_node_and_forgotten_by_its_uid(database: Database, epoch: int, now: datetime) -> None:
    """It is shown with that node alone; a later word takes the place of an earlier."""
    word = NodeWord("uid-a", "a", "accountaaaaa", now)
    with database.transaction() as tx:
        store(tx, epoch, record("a", now), record("b", now), now=now)
        write_word(tx, word)
        write_word(tx, replace(word, said_at=now + timedelta(seconds=5)))
        assert read_words(tx) == {"uid-a": replace(word, said_at=now + timedelta(seconds=5))}
        assert [view.word is not None for view in list_nodes(tx)] == [True, False]
        write_nodes(tx, epoch, (), forget=(), forget_words=("uid-a",), events=(), now=now)
        assert read_words(tx) == {}


def test_events_of_nodes_are_told_to_the_owners(
    database: Database, epoch: int, now: datetime, account: Account, make_server: Callable[..., Server]
) -> None:
    """In the same transaction; and the game of a server can be asked for."""
    server = make_server(account)
    with database.transaction() as tx:
        event = NewEvent(server.id, "NodeLost", "Its node is lost.")
        write_nodes(tx, epoch, (), forget=(), forget_words=(), events=(event,), now=now)
        assert [one.reason for one in list_events(tx, scope=account.id).items] == ["NodeLost"]
        assert read_game(tx, server.id) == "luanti"
        assert read_game(tx, "absent") is None


def test_only_fresh_looks_say_who_plays(
    database: Database, now: datetime, account: Account, make_server: Callable[..., Server]
) -> None:
    """What was not looked at, or too long ago, is not among them."""
    fresh, old, unseen = make_server(account, "a"), make_server(account, "b"), make_server(account, "c")
    idle = Activity(Presence.IDLE, 0, 4, (), None, None, None, seen_at=now, last_active_at=None)
    with database.transaction() as tx:
        write_activities(tx, {fresh.id: idle, old.id: replace(idle, seen_at=now - timedelta(seconds=61))})
        found = read_presences(tx, [fresh.id, old.id, unseen.id], now - timedelta(seconds=60))
    assert found == {fresh.id: Presence.IDLE}
