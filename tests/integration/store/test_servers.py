"""The spec: what is written comes back, edits are ordered, a purge leaves only history."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import func, insert, select

from conftest import StatementCounter
from overworld.domain.accounts import Account
from overworld.domain.activity import Activity, Presence
from overworld.domain.errors import Conflict, PreconditionFailed
from overworld.domain.events import NewEvent
from overworld.domain.games import Protocol
from overworld.domain.operations import Operation, OperationKind, Outcome
from overworld.domain.servers import NOT_YET_SEEN, Desired, RetiredWorld, Server, Status
from overworld.domain.state import State, derive_state
from overworld.store import lease, servers
from overworld.store.activity import write_activities
from overworld.store.database import Database, Transaction
from overworld.store.events import insert_events, list_events
from overworld.store.operations import find_operation, insert_operation
from overworld.store.ports import PortLease, lease_offered, leased_ports
from overworld.store.save_tables import every_table
from overworld.store.server_rows import ServerView
from overworld.store.statuses import StatusWrite, write_statuses
from overworld.store.tables import retired_world
from overworld.store.usage import RunningTime, Sample, add_running_time, add_samples

HOUR = timedelta(hours=1)


def see(database: Database, server: Server, status: Status) -> None:
    """Write a status as the controller does."""
    with database.transaction() as tx:
        held = lease.acquire(tx, lease.CONTROLLER, "test", HOUR)
        assert held is not None
        write_statuses(
            tx,
            held.epoch,
            [StatusWrite(server.id, status, derive_state(server, status))],
            status.updated_at or server.updated_at,
        )


def deleted(server: Server, now: datetime) -> Server:
    """The same server, deleted by its owner."""
    generation = server.generation + 1
    return replace(
        server,
        generation=generation,
        desired=Desired.DELETED,
        desired_generation=generation,
        deleted_at=now,
        purge_at=now + HOUR,
    )


def test_a_server_begins_unseen(database: Database, account: Account, make_server: Callable[..., Server]) -> None:
    """Generation 1, pending, as it was asked for."""
    server = make_server(account)
    assert (server.generation, server.desired_generation, server.restarts, server.world_generation) == (1, 1, 0, 1)
    assert server.variables == {"motd": "hello ☃", "players": 3, "pvp": False}
    with database.transaction() as tx:
        view = servers.find_server(tx, server.id, None)
    assert view is not None
    assert view == ServerView(server, NOT_YET_SEEN, State.PENDING, None, "ann")


def test_numbers_are_never_used_again(
    database: Database, account: Account, make_server: Callable[..., Server], now: datetime
) -> None:
    """The number of a purged server stays its own."""
    first = make_server(account)
    with database.transaction() as tx:
        servers.update_server(tx, deleted(first, now), expected_generation=1)
        assert servers.purge_server(tx, first.id, now)
    assert make_server(account).number > first.number


def test_a_view_has_spec_status_activity_and_owner_by_one_statement(
    database: Database,
    account: Account,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    statement_counter: StatementCounter,
    now: datetime,
) -> None:
    """One statement for each of the ways to read a server, and the same answer from each."""
    server = make_server(account)
    see(database, server, running())
    activity = Activity(Presence.ACTIVE, 2, 8, ("eve",), 12.5, 100.25, None, now, now, None)
    with database.transaction() as tx:
        tx.execute(insert(retired_world).values(server_id=server.id, generation=0, keep_until=now))
        write_activities(tx, {server.id: activity})
    expected = ServerView(
        replace(server, retired_worlds=(RetiredWorld(0, now),)), running(), State.RUNNING, activity, "ann"
    )
    reads: tuple[Callable[[Transaction], ServerView | None], ...] = (
        lambda tx: servers.find_server(tx, server.id, account.id),
        lambda tx: servers.find_server(tx, "one", account.id),
        lambda tx: servers.lock_server(tx, server.id, None),
        lambda tx: servers.load_server(tx, server.id),
    )
    for read in reads:
        with statement_counter(database) as statements, database.transaction() as tx:
            assert read(tx) == expected
        assert len(statements) == 1


def test_the_scope_hides_what_others_own(
    database: Database, account: Account, make_account: Callable[..., Account], make_server: Callable[..., Server]
) -> None:
    """By id and by name, in every read."""
    server = make_server(account)
    other = make_account("bob")
    with database.transaction() as tx:
        for name in (server.id, "one"):
            assert servers.find_server(tx, name, other.id) is None
            assert servers.lock_server(tx, name, other.id) is None
            assert servers.find_server(tx, name, account.id) is not None
        assert servers.load_server(tx, server.id, other.id) is None


def test_a_name_is_unique_among_an_accounts_living_servers(
    database: Database,
    account: Account,
    make_account: Callable[..., Account],
    make_server: Callable[..., Server],
    now: datetime,
) -> None:
    """Taken by create, by rename and by undelete; free for others, and after deletion."""
    first = make_server(account, "one")
    second = make_server(account, "two")
    make_server(make_account("bob"), "one")
    with pytest.raises(Conflict, match="'one'"):
        make_server(account, "one")
    with pytest.raises(Conflict, match="'one'"), database.transaction() as tx:
        servers.update_server(tx, replace(second, name="one", generation=2), expected_generation=1)
    with database.transaction() as tx:
        gone = servers.update_server(tx, deleted(first, now), expected_generation=1)
    third = make_server(account, "one")
    back = replace(gone, generation=3, desired=Desired.STOPPED, deleted_at=None, purge_at=None)
    with pytest.raises(Conflict, match="'one'"), database.transaction() as tx:
        servers.update_server(tx, back, expected_generation=2)
    with database.transaction() as tx:
        found = servers.find_server(tx, "one", account.id)
    assert found is not None
    assert found.server == third


def test_an_ambiguous_name_is_a_conflict_and_an_id_never_is(
    database: Database, account: Account, make_account: Callable[..., Account], make_server: Callable[..., Server]
) -> None:
    """An admin sees two servers of a name: which one is asked for. A server named like another's id hides nothing."""
    first = make_server(account, "one")
    other = make_account("bob")
    make_server(other, "one")
    make_server(other, first.id)
    with database.transaction() as tx:
        with pytest.raises(Conflict, match="by its id"):
            servers.find_server(tx, "one", None)
        found = servers.find_server(tx, first.id, None)
    assert found is not None
    assert found.server == first


def test_of_two_edits_at_once_one_fails(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """Both read generation 1; one writes 2, the other is told to read again."""
    server = make_server(account)

    def edit(memory_mib: int) -> bool:
        try:
            with database.transaction() as tx:
                servers.update_server(tx, replace(server, generation=2, memory_mib=memory_mib), expected_generation=1)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(edit, range(8))) == 1


def test_an_edit_writes_all_that_may_change(
    database: Database, account: Account, make_server: Callable[..., Server], now: datetime
) -> None:
    """And never the owner, the game, the number or the creation."""
    server = make_server(account)
    changed = replace(
        deleted(server, now),
        name="new",
        restarts=4,
        variables={},
        memory_mib=1,
        world_generation=2,
        updated_at=now + HOUR,
    )
    with database.transaction() as tx:
        wrong = replace(changed, account_id="x", game="y", number=99, created_at=now + HOUR)
        assert servers.update_server(tx, wrong, expected_generation=1) == changed
    with database.transaction() as tx, pytest.raises(PreconditionFailed):
        servers.update_server(tx, replace(changed, id="gone", generation=3), expected_generation=2)
    with database.transaction() as tx, pytest.raises(ValueError, match="does not follow"):
        servers.update_server(tx, changed, expected_generation=2)


def test_every_write_of_a_spec_notifies_and_only_when_committed(
    database: Database, database_url: str, account: Account, make_server: Callable[..., Server]
) -> None:
    """Channel ``desired``, without a payload, in one statement with the write."""
    with psycopg.connect(database_url, autocommit=True) as listening:
        listening.execute("LISTEN desired")
        server = make_server(account)
        with database.engine.connect() as tx:
            servers.update_server(tx, replace(server, generation=2), expected_generation=1)
            tx.rollback()
        with database.transaction() as tx:
            servers.update_server(tx, replace(server, generation=2), expected_generation=1)
        heard = list(listening.notifies(timeout=0.2))
    assert [(notification.channel, notification.payload) for notification in heard] == [("desired", "")] * 2


def test_due_are_those_not_looked_at_since_their_last_change(
    database: Database, account: Account, make_server: Callable[..., Server], running: Callable[..., Status]
) -> None:
    """Also those without any status row."""
    first, second, third = (make_server(account, name) for name in ("one", "two", "three"))
    see(database, first, running(1))
    see(database, second, running(1))
    with database.transaction() as tx:
        assert servers.due_ids(tx) == [third.id]
        servers.update_server(tx, replace(second, generation=2), expected_generation=1)
    with database.transaction() as tx:
        assert set(servers.due_ids(tx)) == {second.id, third.id}
        assert set(servers.all_ids(tx)) == {first.id, second.id, third.id}


def test_the_controller_loads_any_number_by_one_statement(
    database: Database,
    account: Account,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    statement_counter: StatementCounter,
    now: datetime,
) -> None:
    """Spec, status, open operations in order, leases and retired worlds; unknown ids are left out."""
    made = [make_server(account, f"s{number}") for number in range(30)]
    first = made[0]
    see(database, first, running())
    operations = [
        Operation(name, first.id, account.id, OperationKind.START, 1, now + timedelta(seconds=offset))
        for name, offset in (("later", 2), ("sooner", 1))
    ]
    with database.transaction() as tx:
        for operation in operations:
            insert_operation(tx, operation)
        insert_operation(tx, replace(operations[0], id="over", outcome=Outcome.SUCCEEDED, ended_at=now))
        leases = lease_offered(tx, {first.id: [PortLease("game", Protocol.UDP, 30000)]})[first.id]
        tx.execute(insert(retired_world).values(server_id=first.id, generation=7, keep_until=now))
    with statement_counter(database) as statements, database.transaction() as tx:
        records = servers.load_many(tx, [*(server.id for server in made), "unknown"])
    assert len(statements) == 1
    assert set(records) == {server.id for server in made}
    assert records[first.id] == servers.ServerRecord(
        server=replace(first, retired_worlds=(RetiredWorld(7, now),)),
        status=running(),
        state=State.RUNNING,
        open_operations=(operations[1], operations[0]),
        leases=leases,
    )
    assert records[made[1].id] == servers.ServerRecord(made[1], NOT_YET_SEEN, State.PENDING, (), ())
    with database.transaction() as tx:
        assert servers.load_many(tx, []) == {}


def test_a_purge_leaves_nothing_but_history(
    database: Database,
    account: Account,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    now: datetime,
) -> None:
    """Operations (none of them open), events and running time stay; every other row of the server goes."""
    server = make_server(account)
    see(database, server, running())
    with database.transaction() as tx:
        lease_offered(tx, {server.id: [PortLease("game", Protocol.UDP, 30000)]})
        write_activities(tx, {server.id: Activity(Presence.IDLE, 0, None, (), None, None, None, now, None)})
        add_samples(tx, [Sample(server.id, now, 0, None, None, None)])
        add_running_time(tx, [RunningTime(account.id, server.id, now, 1, 1, 1)])
        tx.execute(insert(retired_world).values(server_id=server.id, generation=0, keep_until=now))
        insert_operation(tx, Operation("op", server.id, account.id, OperationKind.DELETE, 2, now))
        insert_events(tx, [NewEvent(server.id, "Deleted", "Deleted.")], now)
        servers.update_server(tx, deleted(server, now), expected_generation=1)
    with database.transaction() as tx:
        assert servers.purge_server(tx, server.id, now)
    with database.transaction() as tx:
        assert not servers.purge_server(tx, server.id, now)
        assert servers.load_server(tx, server.id) is None
        assert leased_ports(tx) == set()
        operation = find_operation(tx, "op", account.id)
        assert operation is not None
        assert operation.outcome is Outcome.ABORTED
        assert len(list_events(tx, scope=account.id, server_id=server.id).items) == 1
        left = {
            table.name
            for table in every_table.sorted_tables
            if "server_id" in table.c
            and tx.execute(select(func.count()).where(table.c.server_id == server.id)).scalar_one()
        }
    assert left == {"operation", "event", "usage_hours"}


def test_a_server_that_is_wanted_is_not_purged(
    database: Database, account: Account, make_server: Callable[..., Server], now: datetime
) -> None:
    """Undeleted in the meantime: it keeps its ports and its row."""
    server = make_server(account)
    with database.transaction() as tx:
        leases = lease_offered(tx, {server.id: [PortLease("game", Protocol.UDP, 30000)]})[server.id]
        assert not servers.purge_server(tx, server.id, now)
        assert not servers.purge_server(tx, "unknown", now)
        assert servers.load_many(tx, [server.id])[server.id].leases == leases


def test_times_keep_their_microseconds(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """Through columns and through PostgreSQL's JSON, with trailing zeros and without."""
    for number, microsecond in enumerate((0, 1, 100_000, 123_450, 999_999)):
        at = datetime(2026, 1, 2, 3, 4, 5, microsecond, tzinfo=UTC)
        server = make_server(account, f"s{number}", now=at)
        operation = Operation(f"op{number}", server.id, account.id, OperationKind.CREATE, 1, at)
        with database.transaction() as tx:
            insert_operation(tx, operation)
            record = servers.load_many(tx, [server.id])[server.id]
        assert record.server.created_at == at
        assert record.open_operations == (operation,)
