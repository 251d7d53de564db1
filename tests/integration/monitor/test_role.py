"""The monitor on a real PostgreSQL: what it writes is what was seen, whatever fails around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
from prometheus_client import REGISTRY

from integration.monitor.rows import LAUNCH, RESERVED_MIB, make_account, make_server, see, want
from overworld.domain.activity import Activity, Presence
from overworld.domain.errors import EngineUnavailable
from overworld.domain.servers import Server
from overworld.domain.state import State
from overworld.engines.base import Engine
from overworld.engines.memory import MemoryEngine, MemoryWorld
from overworld.games.catalogue import Catalogue
from overworld.monitor.role import run_monitor
from overworld.settings import Settings
from overworld.store.activity import write_activities
from overworld.store.database import Database
from overworld.store.lease import acquire, release
from overworld.store.servers import load_server
from overworld.store.usage import UsageTotal, usage_by_server, usage_of_server
from waiting import eventually

INTERVAL_SECONDS = 1.0
DEADLINE_SECONDS = 15.0
SETTINGS = Settings(engine="memory", monitor_interval=timedelta(seconds=INTERVAL_SECONDS))


@asynccontextmanager
async def monitoring(
    database: Database, engine: Engine, settings: Settings = SETTINGS
) -> AsyncIterator[asyncio.Task[None]]:
    """A monitor for as long as the block lasts, stopped as a role is."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_monitor(database, engine, Catalogue.load(), settings, stop))
    try:
        yield task
        assert not task.done(), "the role ended by itself"
    finally:
        stop.set()
        await asyncio.wait_for(task, DEADLINE_SECONDS)


async def run(engine: MemoryEngine, database: Database, *servers: Server) -> None:
    """Let these servers run, as seen by the controller."""
    for server in servers:
        await engine.apply(want(server, running=True), LAUNCH)
        see(database, server, State.RUNNING)


def activity_of(database: Database, server: Server) -> Activity | None:
    """The server's activity row."""
    with database.transaction() as tx:
        view = load_server(tx, server.id)
    return view.activity if view is not None else None


def usage_of(database: Database, server: Server) -> UsageTotal:
    """What the server used, over all days."""
    now = datetime.now(UTC)
    with database.transaction() as tx:
        totals = usage_by_server(tx, scope=None, since=now - timedelta(days=3), until=now + timedelta(days=1))
    return next(
        (total for total in totals if total.server_id == server.id),
        UsageTotal(server.account_id, server.id, 0.0, 0.0, 0.0),
    )


def row_where(database: Database, server: Server, holds: Callable[[Activity], bool]) -> Callable[[], Activity | None]:
    """The activity row once it is as wanted, for ``eventually``."""

    def look() -> Activity | None:
        row = activity_of(database, server)
        return row if row is not None and holds(row) else None

    return look


async def test_a_running_server_gets_activity_history_and_usage(database: Database) -> None:
    """What it uses is on its row within two intervals; seconds add up, but not to more than passed."""
    engine = MemoryEngine()
    server = make_server(database, make_account(database), "one")
    await run(engine, database, server)
    began = time.monotonic()
    async with monitoring(database, engine):
        row = await eventually(
            row_where(database, server, lambda row: row.cpu_percent is not None), DEADLINE_SECONDS, "cpu is measured"
        )
        await eventually(lambda: usage_of(database, server).running_seconds >= 2, DEADLINE_SECONDS, "two seconds run")
    used, passed = usage_of(database, server), time.monotonic() - began
    assert row.memory_mib == RESERVED_MIB / 2
    assert row.presence is Presence.UNKNOWN  # the memory engine's games have no signals
    assert row.players is None
    assert 2 <= used.running_seconds <= passed
    assert used.played_seconds == 0
    assert abs(used.memory_mib_seconds - RESERVED_MIB * used.running_seconds) < 1
    now = datetime.now(UTC)
    with database.transaction() as tx:
        steps = usage_of_server(
            tx, scope=None, server_id=server.id, since=now - timedelta(hours=1), until=now, resolution=60
        )
    assert sum(step.samples for step in steps) >= 3
    assert all(step.players_average is None and step.players_max is None for step in steps)


async def test_a_server_that_stops_has_nobody_on_it(database: Database) -> None:
    """Once its process is gone the row says idle, no players, no memory; and it is charged no longer."""
    engine = MemoryEngine()
    server = make_server(database, make_account(database), "one")
    await run(engine, database, server)
    async with monitoring(database, engine):
        await eventually(row_where(database, server, lambda row: bool(row.memory_mib)), DEADLINE_SECONDS, "it is seen")
        await engine.apply(want(server, running=False), LAUNCH)
        see(database, server, State.STOPPED)
        row = await eventually(
            row_where(database, server, lambda row: row.memory_mib == 0), DEADLINE_SECONDS, "the end is seen"
        )
    assert (row.presence, row.players, row.names) == (Presence.IDLE, 0, ())


async def test_what_stopped_while_no_monitor_ran_is_found(database: Database) -> None:
    """A row that says that three play is put right at the start, although nothing runs any more."""
    server = make_server(database, make_account(database), "one")
    see(database, server, State.STOPPED)
    before = datetime.now(UTC) - timedelta(hours=1)
    stale = Activity(Presence.ACTIVE, 3, 16, ("ann", "bob", "cid"), 9.0, 300.0, 5.0, before, before)
    with database.transaction() as tx:
        write_activities(tx, {server.id: stale})
    async with monitoring(database, MemoryEngine()):
        row = await eventually(
            row_where(database, server, lambda row: row.presence is Presence.IDLE), DEADLINE_SECONDS, "it is put right"
        )
    assert (row.players, row.memory_mib, row.disk_mib, row.last_active_at) == (0, 0.0, 5.0, before)


async def test_an_engine_fault_is_unknown_and_harms_nobody_else(database: Database) -> None:
    """A server whose usage fails turns unknown, one that hangs is passed by, a third has its looks on time."""
    engine = MemoryEngine()
    account = make_account(database)
    fails, hangs, well = (make_server(database, account, name) for name in ("fails", "hangs", "well"))
    await run(engine, database, fails, hangs, well)

    def fault(call: str, server_id: str) -> Exception | None:
        return EngineUnavailable("the socket is gone") if (call, server_id) == ("usage", fails.id) else None

    async with monitoring(database, engine):
        await eventually(row_where(database, fails, lambda row: bool(row.memory_mib)), DEADLINE_SECONDS, "it is seen")
        engine.fault = fault
        engine.hangs.add(hangs.id)
        seen = await eventually(
            row_where(database, fails, lambda row: row.memory_mib is None), DEADLINE_SECONDS, "it is unknown"
        )
        start = usage_of(database, well).running_seconds
        began = time.monotonic()
        await eventually(
            lambda: usage_of(database, well).running_seconds >= start + 3, DEADLINE_SECONDS, "the third is looked at"
        )
        assert time.monotonic() - began < 3 + 4 * INTERVAL_SECONDS
    assert (seen.presence, seen.players, seen.cpu_percent) == (Presence.UNKNOWN, None, None)


async def test_an_engine_that_is_starting_is_waited_for(database: Database) -> None:
    """A restart turns no row unknown only because the engine has not found its servers yet."""
    engine = MemoryEngine()
    server = make_server(database, make_account(database), "one")
    await run(engine, database, server)
    engine.is_filling = True
    async with monitoring(database, engine):
        await eventually(lambda: not is_lease_free(database), DEADLINE_SECONDS, "the monitor holds its lease")
        assert activity_of(database, server) is None
        engine.is_filling = False
        row = await eventually(lambda: activity_of(database, server), DEADLINE_SECONDS, "it is looked at")
    assert row.memory_mib == RESERVED_MIB / 2


async def test_two_monitors_count_once(database: Database) -> None:
    """With two monitors at once a second is one second, and the other goes on when the first ends."""
    world = MemoryWorld()
    server = make_server(database, make_account(database), "one")
    await run(MemoryEngine(world), database, server)
    began = time.monotonic()
    async with monitoring(database, MemoryEngine(world)):
        async with monitoring(database, MemoryEngine(world)):
            await eventually(
                lambda: usage_of(database, server).running_seconds >= 3, DEADLINE_SECONDS, "three seconds are counted"
            )
        counted = usage_of(database, server).running_seconds
        assert counted <= time.monotonic() - began
        await eventually(
            lambda: usage_of(database, server).running_seconds > counted + 1, DEADLINE_SECONDS, "the other goes on"
        )
    assert usage_of(database, server).running_seconds <= time.monotonic() - began


async def test_a_database_that_is_away_loses_no_seconds(database: Database, database_url: str) -> None:
    """The monitor keeps counting while PostgreSQL refuses it, without a hot loop, and writes it all afterwards."""
    engine = MemoryEngine()
    server = make_server(database, make_account(database), "one")
    await run(engine, database, server)
    name = psycopg.conninfo.conninfo_to_dict(_plain(database_url))["dbname"]
    admin = psycopg.connect(_plain(database_url), dbname="postgres", autocommit=True)
    async with monitoring(database, engine):
        await eventually(lambda: usage_of(database, server).running_seconds > 0, DEADLINE_SECONDS, "it is counted")
        counted, began = usage_of(database, server).running_seconds, time.monotonic()
        failures = failed_rounds()
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            await eventually(lambda: time.monotonic() - began > 5, DEADLINE_SECONDS, "five seconds pass")
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            admin.close()
        await eventually(
            lambda: usage_of(database, server).running_seconds >= counted + 5, DEADLINE_SECONDS, "all is written"
        )
        assert 1 <= failed_rounds() - failures <= 6
    assert usage_of(database, server).running_seconds <= counted + (time.monotonic() - began) + INTERVAL_SECONDS * 2


async def test_a_monitor_that_stops_leaves_the_lease(database: Database) -> None:
    """A standby need not wait for the lease of one that ended."""
    async with monitoring(database, MemoryEngine()):
        await eventually(lambda: not is_lease_free(database), DEADLINE_SECONDS, "the monitor holds its lease")
    assert is_lease_free(database)


def is_lease_free(database: Database) -> bool:
    """Whether another monitor could take over now; takes the lease for a moment to find out."""
    with database.transaction() as tx:
        lease = acquire(tx, "monitor", "somebody else", timedelta(seconds=1))
        if lease is not None:
            release(tx, lease)
        return lease is not None


def failed_rounds() -> float:
    """How often the database did not let this process's monitors through."""
    return REGISTRY.get_sample_value("overworld_monitor_database_failures_total") or 0.0


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
