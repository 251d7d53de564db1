"""Operations and events: history that outlives the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from overworld.domain.accounts import Account
from overworld.domain.errors import BadInput
from overworld.domain.events import Level, NewEvent
from overworld.domain.operations import Operation, OperationKind, Outcome, Verdict
from overworld.domain.servers import Server
from overworld.domain.state import State
from overworld.store import operations
from overworld.store.counts import count_rows
from overworld.store.database import Database
from overworld.store.events import insert_events, list_events, prune_events


def make(account: Account, number: int, now: datetime, server_id: str = "s") -> Operation:
    """An open operation, ``number`` seconds later."""
    return Operation(f"op{number}", server_id, account.id, OperationKind.START, number, now + timedelta(seconds=number))


def test_operations_are_listed_newest_first_in_their_scope(
    database: Database, account: Account, make_account: Callable[..., Account], now: datetime
) -> None:
    """By account, by server, page by page; another's is as none."""
    other = make_account("bob")
    mine = [make(account, number, now, "s" if number % 2 else "t") for number in range(5)]
    with database.transaction() as tx:
        for operation in (*mine, make(other, 9, now)):
            operations.insert_operation(tx, operation)
        first = operations.list_operations(tx, scope=account.id, page_size=3)
        second = operations.list_operations(tx, scope=account.id, page_size=3, page_token=first.next_token)
        assert (*first.items, *second.items) == tuple(reversed(mine))
        assert second.next_token is None
        assert [found.id for found in operations.list_operations(tx, scope=None, server_id="s").items] == [
            "op9",
            "op3",
            "op1",
        ]
        assert operations.list_operations(tx, scope=other.id, server_id="t").items == ()
        assert operations.find_operation(tx, "op0", account.id) == mine[0]
        assert operations.find_operation(tx, "op0", other.id) is None
        assert operations.find_operation(tx, "op0", None) == mine[0]


def test_open_operations_are_aborted_by_a_newer_wish(database: Database, account: Account, now: datetime) -> None:
    """Those of that server only; what had ended keeps its verdict."""
    with database.transaction() as tx:
        for number, server_id in ((1, "s"), (2, "s"), (3, "s"), (4, "t")):
            operations.insert_operation(tx, make(account, number, now, server_id))
        done = operations.end_operation(tx, "op1", Verdict(Outcome.SUCCEEDED, "Answering", "Done."), now)
        assert count_rows(tx).open_operations == 3
        assert operations.abort_open_operations(tx, "s", "A stop was asked for.", now) == 2
        assert operations.abort_open_operations(tx, "s", "A stop was asked for.", now) == 0
        assert operations.find_operation(tx, "op1", None) == done
        assert operations.find_operation(tx, "op2", None) == replace(
            make(account, 2, now),
            outcome=Outcome.ABORTED,
            reason="NewerIntent",
            message="A stop was asked for.",
            ended_at=now,
        )
        assert count_rows(tx).open_operations == 1


def test_old_operations_are_pruned_and_open_ones_never(database: Database, account: Account, now: datetime) -> None:
    """By the time of their end, not of their beginning."""
    with database.transaction() as tx:
        for number in (1, 2, 3):
            operations.insert_operation(tx, make(account, number, now))
        operations.end_operation(tx, "op1", Verdict(Outcome.FAILED, "x", "x"), now)
        operations.end_operation(tx, "op2", Verdict(Outcome.FAILED, "x", "x"), now + timedelta(days=2))
        assert operations.prune_operations(tx, now + timedelta(days=1)) == 1
        assert {found.id for found in operations.list_operations(tx, scope=None).items} == {"op2", "op3"}


def test_events_are_listed_newest_first_in_their_scope(
    database: Database,
    account: Account,
    make_account: Callable[..., Account],
    make_server: Callable[..., Server],
    now: datetime,
) -> None:
    """In the order they were given, by server or by owner; those of unknown servers are left out."""
    other = make_account("bob")
    mine, theirs = make_server(account), make_server(other)
    new = [
        NewEvent(mine.id, "Reason", f"{number}", Level.WARNING if number == 3 else Level.INFO) for number in range(5)
    ]
    with database.transaction() as tx:
        insert_events(tx, [*new, NewEvent("gone", "Reason", "x"), NewEvent(theirs.id, "Reason", "theirs")], now)
        insert_events(tx, [], now)
        first = list_events(tx, scope=account.id, page_size=2)
        second = list_events(tx, scope=account.id, page_size=9, page_token=first.next_token)
        found = (*first.items, *second.items)
        assert [event.message for event in found] == ["4", "3", "2", "1", "0"]
        assert found[1].level is Level.WARNING
        assert list_events(tx, scope=account.id, after_id=found[2].id).items == found[:2]
        assert [event.message for event in list_events(tx, scope=None, server_id=theirs.id).items] == ["theirs"]
        assert list_events(tx, scope=account.id, server_id=theirs.id).items == ()
        assert len(list_events(tx, scope=None).items) == 6
        with pytest.raises(BadInput, match="page token"):
            list_events(tx, scope=None, page_token="x")


def test_old_events_are_pruned(
    database: Database, account: Account, make_server: Callable[..., Server], now: datetime
) -> None:
    """Those from before the given time."""
    server = make_server(account)
    with database.transaction() as tx:
        for days in (1, 2, 3):
            insert_events(tx, [NewEvent(server.id, "R", str(days))], now - timedelta(days=days))
        assert prune_events(tx, now - timedelta(days=2)) == 1
        assert [event.message for event in list_events(tx, scope=None).items] == ["2", "1"] or [
            event.message for event in list_events(tx, scope=None).items
        ] == ["1", "2"]


def test_numbers_for_the_metrics(database: Database, account: Account, make_server: Callable[..., Server]) -> None:
    """Every state has a number, also none; who was never seen is pending."""
    make_server(account)
    with database.transaction() as tx:
        counts = count_rows(tx)
    assert counts.servers == {state: int(state is State.PENDING) for state in State}
    assert counts.open_operations == 0
