"""What the monitor writes: the latest activity, a history that gets coarser with age, running time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from conftest import StatementCounter
from overworld.domain.accounts import Account
from overworld.domain.activity import Activity, Presence
from overworld.domain.errors import BadInput
from overworld.domain.servers import Server, Status
from overworld.domain.state import State
from overworld.store import lease, usage
from overworld.store.activity import RunningServer, list_running, write_activities
from overworld.store.database import Database
from overworld.store.servers import load_server
from overworld.store.statuses import StatusWrite, write_statuses
from overworld.store.usage import RunningTime, Sample, Step, UsageTotal

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def test_activity_is_stored_by_one_statement(
    database: Database,
    account: Account,
    make_server: Callable[..., Server],
    statement_counter: StatementCounter,
    now: datetime,
) -> None:
    """For any number of servers; purged ones are left out; strange names are made storable."""
    made = [make_server(account, f"s{number}") for number in range(20)]
    activity = Activity(Presence.ACTIVE, 2, 8, ("eve", "a\0\udc80"), 12.5, 100.25, 3.0, now, now, now)
    with statement_counter(database) as statements, database.transaction() as tx:
        write_activities(tx, {**{server.id: activity for server in made}, "gone": activity})
        write_activities(tx, {})
    assert len(statements) == 1
    with database.transaction() as tx:
        view = load_server(tx, made[3].id)
    assert view is not None
    assert view.activity == replace(activity, names=("eve", "a\ufffd?"))


def test_the_last_activity_is_never_forgotten(
    database: Database, account: Account, make_server: Callable[..., Server], now: datetime
) -> None:
    """A later row without these times, or with earlier ones, does not take them back."""
    server = make_server(account)
    first = Activity(Presence.ACTIVE, 1, 8, ("eve",), 1.0, 1.0, 1.0, now, now, now)
    later = now + timedelta(minutes=1)
    second = Activity(Presence.UNKNOWN, None, None, (), None, None, None, later, None, None)
    with database.transaction() as tx:
        write_activities(tx, {server.id: first})
        write_activities(tx, {server.id: second})
        write_activities(tx, {server.id: replace(second, last_active_at=now - DAY, join_seen_at=now - DAY)})
        view = load_server(tx, server.id)
    assert view is not None
    assert view.activity == replace(second, last_active_at=now, join_seen_at=now)


def test_the_monitor_finds_what_has_a_process(
    database: Database,
    account: Account,
    make_server: Callable[..., Server],
    running: Callable[..., Status],
    statement_counter: StatementCounter,
    now: datetime,
) -> None:
    """Whatever may have a process, with its endpoints and latest activity, by one statement."""
    servers = {state: make_server(account, state) for state in State}
    make_server(account, "unseen")
    activity = Activity(Presence.IDLE, 0, 8, (), None, None, None, now, now)
    with database.transaction() as tx:
        held = lease.acquire(tx, lease.CONTROLLER, "test", DAY)
        assert held is not None
        write_statuses(
            tx, held.epoch, [StatusWrite(server.id, running(), state) for state, server in servers.items()], now
        )
        write_activities(tx, {servers[State.RUNNING].id: activity})
    with statement_counter(database) as statements, database.transaction() as tx:
        found = {one.state: one for one in list_running(tx)}
    assert len(statements) == 1
    assert set(found) == {State.STARTING, State.RUNNING, State.STOPPING, State.FAILED}
    assert found[State.STARTING].activity is None
    server = servers[State.RUNNING]
    assert found[State.RUNNING] == RunningServer(
        server.id, account.id, "running", "luanti", 512, State.RUNNING, running().endpoints, activity
    )


def history(database: Database, server: Server, resolution: int = 60) -> tuple[Step, ...]:
    """All of it."""
    with database.transaction() as tx:
        return usage.usage_of_server(
            tx, scope=None, server_id=server.id, since=START, until=START + 1000 * DAY, resolution=resolution
        )


def test_samples_of_a_minute_are_merged(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """Averages of what was known and the most players, whether they came in one batch or in several."""
    server = make_server(account)
    samples = [
        Sample(server.id, START + timedelta(seconds=5), 2, 10.0, 100.0, None),
        Sample(server.id, START + timedelta(seconds=15), None, None, 200.0, None),
        Sample(server.id, START + timedelta(seconds=25), 5, 40.0, 300.0, 7.0),
        Sample(server.id, START + timedelta(seconds=65), None, 1.0, 1.0, 1.0),
    ]
    with database.transaction() as tx:
        usage.add_samples(tx, [*samples[:2], Sample("gone", START, 1, 1, 1, 1)])
        usage.add_samples(tx, samples[2:])
        usage.add_samples(tx, [])
    first, second = history(database, server)
    assert (first.at, first.seconds, first.samples, first.players_max) == (START, 60, 3, 5)
    assert first.players_average == pytest.approx(3.5)
    assert first.memory_mib == pytest.approx(200)
    assert first.disk_mib == pytest.approx(7)
    assert second == Step(START + timedelta(minutes=1), 60, 1, None, None, 1.0, 1.0, 1.0)
    (hour,) = history(database, server, 3600)
    assert (hour.at, hour.seconds, hour.samples, hour.players_max) == (START, 3600, 4, 5)
    assert hour.players_average == pytest.approx(3.5)


def test_history_gets_coarser_with_age_and_nothing_is_lost_or_counted_twice(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """Minutes for a day, hours for thirty days, days for two years; thinning twice is thinning once."""
    server = make_server(account)
    with database.transaction() as tx:
        usage.add_samples(
            tx, [Sample(server.id, START + timedelta(minutes=10 * n), n % 3, 50.0, 100.0, None) for n in range(6 * 24)]
        )

    def thinned(now: datetime) -> tuple[Step, ...]:
        with database.transaction() as tx:
            while usage.thin(tx, now):
                pass
            assert usage.thin(tx, now) == 0
        return history(database, server)

    def total(steps: tuple[Step, ...]) -> tuple[int, float]:
        assert {step.players_max for step in steps} <= {2, 1, 0}
        assert all(step.cpu_percent == pytest.approx(50) for step in steps)
        players = sum(step.samples * (step.players_average or 0) for step in steps)
        return sum(step.samples for step in steps), round(players, 6)

    expected = (144, 144.0)
    fresh = thinned(START + DAY)
    assert [step.seconds for step in fresh] == [60] * 144
    assert total(fresh) == expected
    half = thinned(START + DAY + timedelta(hours=12, minutes=30))
    assert [step.seconds for step in half] == [3600] * 12 + [60] * 72
    assert total(half) == expected
    hours = thinned(START + 3 * DAY)
    assert [step.seconds for step in hours] == [3600] * 24
    assert total(hours) == expected
    days = thinned(START + 32 * DAY)
    assert [(step.at, step.seconds) for step in days] == [(START, 86400)]
    assert total(days) == expected
    assert days[0].players_max == 2
    with database.transaction() as tx:  # a sample that comes late finds its day
        usage.add_samples(tx, [Sample(server.id, START + timedelta(hours=1), 9, 50.0, 100.0, None)])
    late = thinned(START + 32 * DAY)
    assert [(step.samples, step.players_max) for step in late] == [(145, 9)]
    assert thinned(START + 800 * DAY) == ()


def test_history_has_bounds_and_a_scope(
    database: Database, account: Account, make_account: Callable[..., Account], make_server: Callable[..., Server]
) -> None:
    """From ``since`` to before ``until``; another's history is empty; other resolutions are bad input."""
    server = make_server(account)
    with database.transaction() as tx:
        usage.add_samples(tx, [Sample(server.id, START + timedelta(minutes=n), 1, None, None, None) for n in range(10)])
        since, until = START + timedelta(minutes=2), START + timedelta(minutes=5)

        def read(scope: str | None, resolution: int) -> tuple[Step, ...]:
            return usage.usage_of_server(
                tx, scope=scope, server_id=server.id, since=since, until=until, resolution=resolution
            )

        assert [step.at.minute for step in read(account.id, 60)] == [2, 3, 4]
        assert read("bob", 60) == ()
        with pytest.raises(BadInput, match="60, 3600, 86400"):
            read(None, 61)


def test_running_time_adds_up_by_day_server_and_account(database: Database, account: Account) -> None:
    """It outlives servers, so it needs none."""
    times = [
        RunningTime(account.id, "s", START + timedelta(hours=1), 10, 5, 100),
        RunningTime(account.id, "s", START + timedelta(hours=23), 10, 0, 100),
        RunningTime(account.id, "s", START + DAY, 1, 1, 1),
        RunningTime(account.id, "t", START, 7, 7, 7),
        RunningTime("bob", "u", START, 3, 3, 3),
    ]
    first_day = {"since": START, "until": START + DAY}
    with database.transaction() as tx:
        usage.add_running_time(tx, times[:3])
        usage.add_running_time(tx, times[3:])
        usage.add_running_time(tx, [])
        mine = UsageTotal(account.id, None, 27, 12, 207)
        assert usage.usage_by_account(tx, scope=account.id, **first_day) == (mine,)
        assert set(usage.usage_by_account(tx, scope=None, **first_day)) == {mine, UsageTotal("bob", None, 3, 3, 3)}
        assert usage.usage_by_server(tx, scope=account.id, since=START, until=START + 2 * DAY) == (
            UsageTotal(account.id, "s", 21, 6, 201),
            UsageTotal(account.id, "t", 7, 7, 7),
        )
        assert usage.usage_by_server(tx, scope=None, account_id="bob", **first_day) == (
            UsageTotal("bob", "u", 3, 3, 3),
        )
        assert usage.usage_by_server(tx, scope=account.id, account_id="bob", **first_day) == ()
