"""What the controller saw: stored in batches, fenced by its lease."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from conftest import StatementCounter
from overworld.domain.accounts import Account
from overworld.domain.conditions import Condition, ConditionType, Truth
from overworld.domain.events import Level, NewEvent
from overworld.domain.operations import Operation, OperationKind, Outcome, Verdict
from overworld.domain.servers import NOT_YET_SEEN, Desired, Server, Status
from overworld.domain.state import State, derive_state
from overworld.store import lease, operations, servers
from overworld.store.database import Database
from overworld.store.events import list_events
from overworld.store.lease import CONTROLLER, Lease, LeaseLost
from overworld.store.statuses import StatusWrite, write_statuses
from overworld.store.tables import server_status
from waiting import wait_until

TTL = timedelta(hours=1)
OVER = timedelta(hours=-1)


def take(database: Database, holder: str, ttl: timedelta = TTL) -> Lease | None:
    """Try to take the controller's lease."""
    with database.transaction() as tx:
        return lease.acquire(tx, CONTROLLER, holder, ttl)


@pytest.fixture
def held(database: Database) -> Lease:
    """The controller's lease, held by ``first``."""
    found = take(database, "first")
    assert found is not None
    return found


def test_the_epoch_grows_with_every_change_of_holder_and_only_then(database: Database) -> None:
    """Acquired again, renewed, expired and re-acquired by the same one: the epoch stays."""
    epochs = []
    for holder, ttl in (("a", TTL), ("a", OVER), ("a", OVER), ("b", TTL), ("b", OVER), ("a", OVER), ("c", TTL)):
        found = take(database, holder, ttl)
        assert found is not None
        epochs.append(found.epoch)
    assert epochs == [1, 1, 1, 2, 2, 3, 4]


def test_a_lease_is_held_by_one(database: Database, held: Lease) -> None:
    """Another one gets nothing until it is over by the database's clock, or given back."""
    assert take(database, "second") is None
    with database.transaction() as tx:
        assert lease.renew(tx, held, TTL)
        lease.release(tx, held)
        lease.release(tx, held)
    second = take(database, "second")
    assert second is not None
    assert second.epoch == held.epoch + 1
    with database.transaction() as tx:
        assert not lease.renew(tx, held, TTL)
        lease.release(tx, held)
    assert take(database, "third") is None


def test_the_leases_of_the_dead_are_let_go(database: Database, held: Lease) -> None:
    """By the beginning of their holders' names, taken literally."""
    with database.transaction() as tx:
        lease.release_all_of(tx, "f_rst")
        lease.release_all_of(tx, "second")
    assert take(database, "second") is None
    with database.transaction() as tx:
        lease.release_all_of(tx, "fir")
    assert take(database, "second") is not None


def test_expired_and_not_taken_can_be_renewed(database: Database) -> None:
    """A pause that nobody noticed does no harm."""
    found = take(database, "first", OVER)
    assert found is not None
    with database.transaction() as tx:
        assert lease.renew(tx, found, TTL)
    assert take(database, "second") is None


def test_of_many_at_once_one_acquires(database: Database) -> None:
    """Ten candidates on a free lease."""
    found: list[Lease | None] = []
    threads = [
        threading.Thread(target=lambda name=str(number): found.append(take(database, name))) for number in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in found if one is not None]) == 1


def test_a_batch_is_stored_by_four_statements(
    database: Database,
    account: Account,
    held: Lease,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    statement_counter: StatementCounter,
    now: datetime,
) -> None:
    """Whatever its size: fence, statuses, events, verdicts. And all of it can be read again."""
    made = [make_server(account, f"s{number}") for number in range(40)]
    with database.transaction() as tx:
        for server in made:
            operation = Operation(f"op-{server.id}", server.id, account.id, OperationKind.CREATE, 1, now)
            operations.insert_operation(tx, operation)
    writes = [
        StatusWrite(
            server.id,
            running(),
            derive_state(server, running()),
            (NewEvent(server.id, "Ready", f"{server.name} is ready."), NewEvent(server.id, "Odd", "2", Level.WARNING)),
            ((f"op-{server.id}", Verdict(Outcome.SUCCEEDED, "Answering", "Done.")),),
        )
        for server in made
    ]
    with statement_counter(database) as statements, database.transaction() as tx:
        write_statuses(tx, held.epoch, writes, now)
    assert len(statements) == 4
    with database.transaction() as tx:
        records = servers.load_many(tx, [server.id for server in made])
        assert all(record.status == running() and record.open_operations == () for record in records.values())
        ended = operations.find_operation(tx, f"op-{made[7].id}", account.id)
        assert ended is not None
        assert (ended.outcome, ended.message, ended.ended_at) == (Outcome.SUCCEEDED, "Done.", now)
        events = list_events(tx, scope=account.id, server_id=made[7].id).items
        assert [(event.reason, event.level, event.at) for event in events] == [
            ("Odd", Level.WARNING, now),
            ("Ready", Level.INFO, now),
        ]
    with statement_counter(database) as statements, database.transaction() as tx:
        write_statuses(tx, held.epoch, [StatusWrite(made[0].id, NOT_YET_SEEN, State.PENDING)], now)
    assert len(statements) == 2


def test_the_stored_state_is_the_derived_one(
    database: Database,
    account: Account,
    held: Lease,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    now: datetime,
) -> None:
    """Recomputed from what is stored beside it."""
    server = make_server(account)
    with database.transaction() as tx:
        write_statuses(tx, held.epoch, [StatusWrite(server.id, running(), derive_state(server, running()))], now)
        record = servers.load_many(tx, [server.id])[server.id]
        stored = tx.execute(select(server_status.c.state)).scalar_one()
    assert stored == record.state == State.RUNNING


def test_a_write_under_an_old_epoch_changes_nothing(
    database: Database,
    account: Account,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    now: datetime,
) -> None:
    """The one that lost its lease is told so; neither status, event nor verdict is stored."""
    server = make_server(account)
    old = take(database, "first", OVER)
    assert old is not None
    assert take(database, "second") is not None
    with database.transaction() as tx:
        operations.insert_operation(tx, Operation("op", server.id, account.id, OperationKind.CREATE, 1, now))
    write = StatusWrite(
        server.id,
        running(),
        State.RUNNING,
        (NewEvent(server.id, "Ready", "x"),),
        (("op", Verdict(Outcome.SUCCEEDED, "x", "x")),),
    )
    with pytest.raises(LeaseLost, match="epoch 2, not 1"), database.transaction() as tx:
        write_statuses(tx, old.epoch, [write], now)
    with database.transaction() as tx:
        record = servers.load_many(tx, [server.id])[server.id]
        assert record.status == NOT_YET_SEEN
        assert len(record.open_operations) == 1
        assert list_events(tx, scope=None).items == ()


def test_without_any_lease_nothing_is_written(database: Database, now: datetime) -> None:
    """Even an empty batch says that the lease is not held."""
    with pytest.raises(LeaseLost), database.transaction() as tx:
        write_statuses(tx, 1, [], now)


def test_nobody_takes_the_lease_during_a_write(
    database: Database,
    account: Account,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    now: datetime,
) -> None:
    """1. The old controller has written and not committed; 2. the new one asks for the expired lease: it waits;
    3. the old one commits. So nothing of the old one is ever written after the new one began."""
    server = make_server(account)
    old = take(database, "first", OVER)
    assert old is not None
    taken: list[Lease | None] = []
    taker = threading.Thread(target=lambda: taken.append(take(database, "second")))
    with database.transaction() as tx:
        write_statuses(tx, old.epoch, [StatusWrite(server.id, running(), State.RUNNING)], now)
        taker.start()
        taker.join(0.2)
        assert taker.is_alive()
        assert taken == []
    taker.join(10)
    assert taken[0] is not None
    assert taken[0].epoch == old.epoch + 1


def test_purged_servers_are_skipped(
    database: Database,
    account: Account,
    held: Lease,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    now: datetime,
) -> None:
    """One is gone, the others are stored: no error, and no event of nobody."""
    server = make_server(account)
    writes = [
        StatusWrite(name, running(), State.RUNNING, (NewEvent(name, "Ready", "x"),)) for name in ("gone", server.id)
    ]
    with database.transaction() as tx:
        write_statuses(tx, held.epoch, writes, now)
        assert servers.load_many(tx, [server.id])[server.id].status == running()
        assert [event.server_id for event in list_events(tx, scope=None).items] == [server.id]


def test_a_server_that_is_being_purged_is_waited_for(
    database: Database,
    account: Account,
    held: Lease,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    now: datetime,
) -> None:
    """The purge has not committed when the batch comes: the batch waits, then leaves that server out."""
    server, other = make_server(account, "one"), make_server(account, "two")
    gone = replace(server, generation=2, desired=Desired.DELETED, purge_at=now)
    with database.transaction() as tx:
        servers.update_server(tx, gone, expected_generation=1)
    done = threading.Event()

    def write() -> None:
        with database.transaction() as tx:
            writes = [StatusWrite(one.id, running(), State.RUNNING) for one in (server, other)]
            write_statuses(tx, held.epoch, writes, now)
        done.set()

    writer = threading.Thread(target=write)
    with database.transaction() as tx:
        assert servers.purge_server(tx, server.id, now)
        writer.start()
        assert not done.wait(0.2)
    writer.join(10)
    assert done.is_set()
    with database.transaction() as tx:
        assert set(servers.load_many(tx, [server.id, other.id])) == {other.id}


def test_a_verdict_comes_once(
    database: Database, account: Account, held: Lease, make_server: Callable[..., Server], now: datetime
) -> None:
    """What was cancelled stays cancelled, however the server goes on."""
    server = make_server(account)
    with database.transaction() as tx:
        operations.insert_operation(tx, Operation("op", server.id, account.id, OperationKind.CREATE, 1, now))
        cancelled = operations.end_operation(tx, "op", Verdict(Outcome.CANCELLED, "Cancelled", "x"), now)
        write = StatusWrite(server.id, NOT_YET_SEEN, State.PENDING, (), (("op", Verdict(Outcome.FAILED, "x", "x")),))
        write_statuses(tx, held.epoch, [write], now)
        assert operations.find_operation(tx, "op", None) == cancelled
        assert operations.end_operation(tx, "op", Verdict(Outcome.FAILED, "x", "x"), now) is None


def test_strange_output_does_not_spoil_a_batch(
    database: Database, account: Account, held: Lease, make_server: Callable[..., Server], now: datetime
) -> None:
    """A game's last words with NUL and half surrogate pairs are stored with replacement characters."""
    server = make_server(account)
    words = "last \0 words \udc80 \\u0000 ☃"
    status = Status(1, (Condition(ConditionType.READY, Truth.FALSE, "Crashed", words, 1, now),), ())
    with database.transaction() as tx:
        write_statuses(
            tx,
            held.epoch,
            [StatusWrite(server.id, status, State.FAILED, (NewEvent(server.id, "Crashed", words),))],
            now,
        )
        seen = servers.load_many(tx, [server.id])[server.id].status.conditions[0].message
        assert seen == "last \ufffd words ? \\u0000 ☃"
        assert list_events(tx, scope=None).items[0].message == seen


def test_two_writes_for_one_server_in_a_batch(
    database: Database,
    account: Account,
    held: Lease,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    now: datetime,
) -> None:
    """The later one counts."""
    server = make_server(account)
    writes = [StatusWrite(server.id, running(1), State.RUNNING), StatusWrite(server.id, running(2), State.RUNNING)]
    with database.transaction() as tx:
        write_statuses(tx, held.epoch, writes, now)
        assert servers.load_many(tx, [server.id])[server.id].status.observed_generation == 2


def test_a_locked_server_and_a_batch_do_not_wait_for_each_other(
    database: Database,
    account: Account,
    held: Lease,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    now: datetime,
) -> None:
    """Somebody edits while the controller writes what it saw: different rows, no waiting."""
    server = make_server(account)

    def write() -> bool:
        with database.transaction() as tx:
            write_statuses(tx, held.epoch, [StatusWrite(server.id, running(), State.RUNNING)], now)
        return True

    with database.transaction() as tx:
        assert servers.lock_server(tx, server.id, None)
        assert wait_until(write, 5, "the batch is written")
