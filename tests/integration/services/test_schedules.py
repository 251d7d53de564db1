"""The tick: what is due is opened once, skipped where nobody can have played, and found again where it was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kept_saves import make_kept_save
from overworld.domain.accounts import Account, Quota, Role
from overworld.domain.activity import Activity, Presence
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth
from overworld.domain.operations import JOBS, Operation, OperationKind, Outcome
from overworld.domain.saves import SaveReason
from overworld.domain.servers import Desired, Server, Status
from overworld.domain.state import State
from overworld.services import schedules
from overworld.store import job_queue, jobs, operations, save_policies, world_leases
from overworld.store.accounts import create_account
from overworld.store.activity import write_activities
from overworld.store.database import Database
from overworld.store.lease import CONTROLLER, LeaseLost, acquire
from overworld.store.servers import insert_server, note_files_changed
from overworld.store.statuses import StatusWrite, write_statuses

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
TERMS = schedules.Terms(
    cron="0 * * * *",
    time_zone="UTC",
    jitter=timedelta(minutes=10),
    check_every=timedelta(days=7),
    drill_every=timedelta(days=7),
    drill=True,
)
LEASE = timedelta(seconds=30)


@pytest.fixture
def account(database: Database) -> Account:
    """An account."""
    with database.transaction() as tx:
        return create_account(tx, name="ann", role=Role.USER, quota=Quota(2000, 2_000_000), now=NOW)


@pytest.fixture
def make(database: Database, account: Account) -> Callable[..., Server]:
    """``make(name)``: a committed server that has run for a day."""

    def make_one(name: str = "one", *, desired: Desired = Desired.RUNNING) -> Server:
        with database.transaction() as tx:
            server = insert_server(
                tx,
                account_id=account.id,
                name=name,
                game="luanti",
                desired=desired,
                variables={},
                memory_mib=512,
                now=NOW - timedelta(days=1),
            )
        ends = desired is Desired.STOPPED
        see(database, server, since=NOW - timedelta(days=1), stopped=ends, has_run=ends)
        return server

    return make_one


def see(database: Database, server: Server, *, since: datetime, stopped: bool, has_run: bool = True) -> None:
    """What the controller writes of a server that runs, or has ended."""
    ready = (
        Condition(ConditionType.READY, Truth.FALSE, Reason.STOPPED, "Stopped.", 1, since)
        if stopped
        else Condition(ConditionType.READY, Truth.TRUE, Reason.ANSWERING, "Players can join.", 1, since)
    )
    saved = Condition(
        ConditionType.SAVED, Truth.TRUE, Reason.SAVE_SEEN if has_run else Reason.NEVER_STOPPED, "", 1, since
    )
    status = Status(observed_generation=1, conditions=(ready, saved), endpoints=(), updated_at=NOW, world_seen=1)
    state = State.STOPPED if stopped else State.RUNNING
    with database.transaction() as tx:
        lease = acquire(tx, CONTROLLER, "test", LEASE)
        assert lease is not None
        write_statuses(tx, lease.epoch, [StatusWrite(server.id, status, state)], NOW)


def tick(database: Database, now: datetime, **terms: Any) -> schedules.Ticked:
    """One tick."""
    given = {name: getattr(TERMS, name) for name in schedules.Terms.__slots__} | terms
    with database.transaction() as tx:
        return schedules.tick(tx, schedules.Terms(**given), now)


def opened(database: Database, server: Server) -> Sequence[Operation]:
    """The open jobs of a server."""
    with database.transaction() as tx:
        return jobs.open_jobs(tx, server.id)


def test_a_due_save_is_opened_once_and_planned_anew(database: Database, make: Callable[..., Server]) -> None:
    """The first tick only plans; within the jitter after the hour one save is opened, and no second one."""
    server = make()
    assert tick(database, NOW).opened == 0
    assert opened(database, server) == []
    later = NOW + timedelta(minutes=41)
    assert tick(database, later).opened == 1
    assert tick(database, later).opened == 0
    (job,) = opened(database, server)
    assert (job.kind, job.arguments["reason"]) == (OperationKind.SAVE, "schedule")
    with database.transaction() as tx:
        policy, _ = save_policies.find_policy(tx, server.id)
    assert policy.next_at is not None
    assert policy.next_at > later


def test_a_save_that_still_waits_is_not_doubled(database: Database, make: Callable[..., Server]) -> None:
    """A worker that is behind does not get a longer line."""
    server = make()
    tick(database, NOW)
    tick(database, NOW + timedelta(hours=1))
    tick(database, NOW + timedelta(hours=2))
    assert len(opened(database, server)) == 1


def test_it_is_skipped_while_nobody_has_played(database: Database, make: Callable[..., Server]) -> None:
    """A server that has been stopped since before its last save is skipped; one whose players are unknown is not."""
    still, unknown = make("still", desired=Desired.STOPPED), make("unknown")
    for server in (still, unknown):
        make_kept_save(database, server.id, now=NOW)
    tick(database, NOW)
    with database.transaction() as tx:
        activity = Activity(
            presence=Presence.UNKNOWN,
            players=None,
            max_players=None,
            names=(),
            cpu_percent=None,
            memory_mib=None,
            disk_mib=None,
            seen_at=NOW,
            last_active_at=None,
        )
        write_activities(tx, {unknown.id: activity})
    ticked = tick(database, NOW + timedelta(minutes=41))
    assert (ticked.opened, ticked.skipped) == (1, 1)
    assert opened(database, still) == []
    assert len(opened(database, unknown)) == 1


def test_changed_files_are_as_good_as_play(database: Database, make: Callable[..., Server]) -> None:
    """A stopped server whose files were changed since its last save is not skipped; one changed before it is."""
    before, after = make("before", desired=Desired.STOPPED), make("after", desired=Desired.STOPPED)
    for server, changed_at in ((before, NOW - timedelta(hours=1)), (after, NOW + timedelta(minutes=1))):
        see(database, server, since=NOW - timedelta(days=1), stopped=True)
        make_kept_save(database, server.id, now=NOW)
        with database.transaction() as tx:
            note_files_changed(tx, server.id, changed_at)
    tick(database, NOW)
    ticked = tick(database, NOW + timedelta(minutes=41))
    assert (ticked.opened, ticked.skipped) == (1, 1)
    assert len(opened(database, after)) == 1


def test_what_was_uploaded_is_no_save_of_the_servers_own_world(database: Database, make: Callable[..., Server]) -> None:
    """A server that ended is saved though an upload came after its end."""
    server = make(desired=Desired.STOPPED)
    see(database, server, since=NOW, stopped=True)
    make_kept_save(database, server.id, now=NOW + timedelta(minutes=1), reason=SaveReason.UPLOAD)
    tick(database, NOW + timedelta(minutes=2))
    assert [job.arguments["reason"] for job in opened(database, server)] == ["stop"]


def test_a_server_that_ended_is_saved_once(database: Database, make: Callable[..., Server]) -> None:
    """Consistent for free; not again while it stays stopped, also if that save fails."""
    server = make(desired=Desired.STOPPED)
    tick(database, NOW, cron="")
    (job,) = opened(database, server)
    assert job.arguments["reason"] == "stop"
    make_kept_save(database, server.id, now=NOW)
    with database.transaction() as tx:
        tx.exec_driver_sql("UPDATE operation SET outcome = 'failed', ended_at = now()")
    assert tick(database, NOW + timedelta(minutes=1), cron="").opened == 0


def test_a_server_that_never_ran_is_not_saved(database: Database, make: Callable[..., Server]) -> None:
    """There is nothing in its world."""
    server = make(desired=Desired.STOPPED)
    see(database, server, since=NOW - timedelta(hours=2), stopped=True, has_run=False)
    tick(database, NOW)
    tick(database, NOW + timedelta(hours=1))
    assert opened(database, server) == []


def test_checks_and_drills_are_spread_and_need_a_save(database: Database, make: Callable[..., Server]) -> None:
    """Every server has its own day; a save that was proven already is not proven again."""
    server = make()
    tick(database, NOW, cron="")
    tick(database, NOW + timedelta(days=7), cron="")
    assert opened(database, server) == []
    make_kept_save(database, server.id, now=NOW + timedelta(days=7))
    tick(database, NOW + timedelta(days=14), cron="")
    assert {job.kind for job in opened(database, server)} == {OperationKind.CHECK, OperationKind.DRILL}


def test_two_ticks_at_once_open_everything_once(database: Database, make: Callable[..., Server]) -> None:
    """What one transaction has taken the other skips."""
    server = make()
    tick(database, NOW)
    later = NOW + timedelta(minutes=41)
    with database.transaction() as one, database.transaction() as other:
        first = schedules.tick(one, TERMS, later)
        second = schedules.tick(other, TERMS, later)
    assert (first.opened, second.opened) == (1, 0)
    assert len(opened(database, server)) == 1


def test_a_job_whose_worker_died_is_found(database: Database, make: Callable[..., Server]) -> None:
    """Not while it waits in the queue, nor while somebody holds the lease for it; but then."""
    server = make()
    tick(database, NOW)
    tick(database, NOW + timedelta(minutes=41))
    (job,) = opened(database, server)
    much_later = NOW + timedelta(hours=1)

    def lost() -> list[str]:
        with database.transaction() as tx:
            return jobs.lost_jobs(tx, much_later, older_than=timedelta(seconds=10))

    assert lost() == []
    with database.transaction() as tx:
        tx.exec_driver_sql("UPDATE procrastinate.procrastinate_jobs SET status = 'doing'")
        lease = world_leases.acquire(tx, server.id, job.id, "dead", LEASE, at_most=8)
    assert isinstance(lease, world_leases.WorldLease)
    assert lost() == []
    with database.transaction() as tx:
        world_leases.release(tx, lease)
    assert lost() == [job.id]
    assert tick(database, much_later, cron="").requeued == 1
    assert lost() == []
    with database.transaction() as tx:
        assert jobs.forget_dead(tx, timedelta(minutes=2)) == 1


def test_one_job_at_a_time_for_each_world(database: Database, make: Callable[..., Server]) -> None:
    """A second one is told who is at work; the store's own limit holds for all worlds; a lease that was taken over
    fences what its old holder still writes."""
    one, two = make("one"), make("two")
    with database.transaction() as tx:
        lease = world_leases.acquire(tx, one.id, "op1", "a", LEASE, at_most=2)
        assert isinstance(lease, world_leases.WorldLease)
        assert world_leases.acquire(tx, one.id, "op2", "b", LEASE, at_most=2) == world_leases.Busy("op1")
        assert world_leases.acquire(tx, two.id, "op3", "b", LEASE, at_most=1) == world_leases.Busy(None)
        assert isinstance(world_leases.acquire(tx, two.id, "op3", "b", LEASE, at_most=2), world_leases.WorldLease)
        world_leases.check(tx, lease)
        world_leases.release(tx, lease)
        taken = world_leases.acquire(tx, one.id, "op1", "a", LEASE, at_most=2)
        assert isinstance(taken, world_leases.WorldLease)
        assert taken.epoch == lease.epoch + 1
        assert not world_leases.renew(tx, lease, LEASE)
        with pytest.raises(LeaseLost):
            world_leases.check(tx, lease)


def test_no_account_has_every_place(database: Database, account: Account, make: Callable[..., Server]) -> None:
    """Of a worker and of the store one is left to others, who would else wait for hours; where there is nobody else
    all may be had."""
    worlds = [make(name).id for name in ("one", "two", "three")]

    def can_begin(number: int, holder: str, *, at_most: int = 8) -> bool:
        with database.transaction() as tx:
            found = world_leases.acquire(tx, worlds[number], f"op{number}", holder, LEASE, at_most=at_most, by_holder=2)
            return isinstance(found, world_leases.WorldLease)

    def end_all() -> None:
        with database.transaction() as tx:
            world_leases.release_all_of(tx, "")

    assert [can_begin(0, "a"), can_begin(1, "a")] == [True, True]
    end_all()
    with database.transaction() as tx:
        other = create_account(tx, name="bob", role=Role.USER, quota=Quota(10, 10_000), now=NOW)
        tx.exec_driver_sql("UPDATE server SET account_id = %s WHERE id = %s", (other.id, worlds[2]))
    assert [can_begin(0, "a"), can_begin(1, "a"), can_begin(2, "a")] == [True, False, True]
    assert can_begin(1, "b"), "another worker has places too"
    end_all()
    assert [can_begin(0, "a", at_most=2), can_begin(1, "b", at_most=2), can_begin(2, "b", at_most=2)] == [
        True,
        False,
        True,
    ]
    end_all()
    assert [can_begin(0, "a", at_most=1), can_begin(2, "a", at_most=1)] == [True, False], "one place is anybody's"


def test_a_newer_wish_leaves_jobs_alone(database: Database, make: Callable[..., Server]) -> None:
    """Start and stop abort each other, but not a save; a purge ends all."""
    server = make()
    tick(database, NOW)
    tick(database, NOW + timedelta(minutes=41))
    with database.transaction() as tx:
        assert operations.abort_open_operations(tx, server.id, "A newer wish.", NOW) == 0
        assert operations.abort_open_operations(tx, server.id, "Purged.", NOW, jobs_too=True) == 1
        found = operations.list_operations(tx, scope=None, server_id=server.id).items
    assert [each.outcome for each in found if each.kind in JOBS] == [Outcome.ABORTED]


async def test_the_queue_wakes_a_worker(database: Database, make: Callable[..., Server]) -> None:
    """What is enqueued in a transaction reaches the worker once that has committed, and leaves no row behind."""
    import asyncio

    server = make()
    stop, seen = asyncio.Event(), asyncio.Queue[str]()

    async def work(operation_id: str) -> None:
        seen.put_nowait(operation_id)

    serving = asyncio.create_task(job_queue.serve(database.url, work, at_once=2, stop=stop))
    try:
        with database.transaction() as tx:
            jobs.enqueue(tx, f"for {server.id}")
        async with asyncio.timeout(20):
            assert await seen.get() == f"for {server.id}"
    finally:
        stop.set()
        await serving
    with database.transaction() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM procrastinate.procrastinate_jobs").scalar() == 0


def test_a_thousand_servers_cost_one_tick_few_statements(
    database: Database, account: Account, statement_counter: Callable[[Database], AbstractContextManager[list[str]]]
) -> None:
    """Where nothing is due, a tick asks the same few questions whatever the number of servers."""
    with database.transaction() as tx:
        for number in range(1000):
            insert_server(
                tx,
                account_id=account.id,
                name=f"server {number}",
                game="luanti",
                desired=Desired.STOPPED,
                variables={},
                memory_mib=64,
                now=NOW,
            )
    for _ in range(5):
        tick(database, NOW)
    with statement_counter(database) as asked:
        tick(database, NOW)
    assert len(asked) == 4, asked
