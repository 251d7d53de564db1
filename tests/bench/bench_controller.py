"""The controller on the memory engine and a PostgreSQL of its own: 10,000 servers, a restart, rest, 1,000 new ones.

Alone: ``python -m bench.bench_controller [URL]`` in tests, with the URL of an empty database to use another PostgreSQL
than a throw-away Debian 15; ``PROFILE=file`` writes a profile of the event loop's thread.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime

import psutil
from prometheus_client import REGISTRY
from sqlalchemy import text

import postgres
from bench.figures import report
from controlling import GAME
from overworld.cloud.none import NoCloud
from overworld.controller.role import run_controller
from overworld.domain.accounts import Quota, Role
from overworld.engines.memory import MemoryEngine, MemoryWorld
from overworld.games.catalogue import Catalogue
from overworld.logs import configure_logs
from overworld.settings import Settings
from overworld.store import schema
from overworld.store.accounts import create_account
from overworld.store.database import Database
from overworld.store.notify import DESIRED, notify

SETTLED = 10_000
NEW = 1_000
REST_SECONDS = 30.0

INSERT = text("""
    WITH made AS (
        INSERT INTO server (id, account_id, name, game, generation, desired, desired_generation, restarts, variables,
            memory_mib, world_generation, created_at, updated_at)
        SELECT 'bench' || i, :account_id, 'bench' || i, :game, 1, 'running', 1, 0, '{}', 128, 1, now(), now()
        FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS i
        RETURNING id, account_id
    )
    INSERT INTO operation (id, server_id, account_id, kind, generation, created_at, outcome, reason, message)
    SELECT 'op' || id, id, account_id, 'create', 1, now(), 'running', '', '' FROM made
""")
OPEN = text("SELECT count(*) FROM operation WHERE outcome = 'running'")
RUNNING = text("SELECT count(*) FROM server_status WHERE state = 'running'")


def main() -> None:
    """Measure and report."""
    configure_logs("warning", "console")
    with nullcontext(sys.argv[1]) if len(sys.argv) > 1 else postgres.run_cluster() as url:
        schema.upgrade(url)
        database = Database(url, application_name="bench", pool_size=5)
        try:
            asyncio.run(measure(database))
        finally:
            database.close()


async def measure(database: Database) -> None:
    """The whole benchmark."""
    world = MemoryWorld()
    with database.transaction() as tx:
        owner = create_account(tx, name="bench", role=Role.USER, quota=Quota(0, 0), now=datetime.now(UTC))
    insert(database, owner.id, 1, SETTLED)
    async with controller(database, world):
        await until(lambda: count(database, RUNNING) == SETTLED and count(database, OPEN) == 0)
    looks = looks_done()
    began = time.monotonic()
    async with controller(database, world):
        await until(lambda: looks_done() - looks >= SETTLED, pause=0.05)
        report("controller: restart to 10,000 servers reconciled", time.monotonic() - began, "s", "≤ 10")
        await asyncio.sleep(2)
        process = psutil.Process()
        cpu, wall = process.cpu_times(), time.monotonic()
        await asyncio.sleep(REST_SECONDS)
        after = process.cpu_times()
        used = after.user + after.system - cpu.user - cpu.system
        report("controller: 10,000 settled servers, CPU", 100 * used / (time.monotonic() - wall), "% of a core", "≤ 2")
        memory_mib = process.memory_info().rss / 2**20
        report("controller: 10,000 settled servers, memory", memory_mib, "MiB", "≤ 200")
        began = time.monotonic()
        insert(database, owner.id, SETTLED + 1, SETTLED + NEW)
        await until(lambda: count(database, RUNNING) == SETTLED + NEW and count(database, OPEN) == 0, pause=0.1)
        report("controller: 1,000 new servers settled", NEW / (time.monotonic() - began), "servers/s", "≥ 200")


@asynccontextmanager
async def controller(database: Database, world: MemoryWorld) -> AsyncIterator[None]:
    """A controller, until the block ends."""
    stop = asyncio.Event()
    settings = Settings(port_range="1024-65535", engine="memory")
    engine = MemoryEngine(world)
    profile = cProfile.Profile() if "PROFILE" in os.environ else None
    if profile is not None:
        profile.enable()
    task = asyncio.create_task(
        run_controller(database, engine, Catalogue([GAME]), settings, stop, cloud=NoCloud(), public_host="play.example")
    )
    try:
        yield
    finally:
        stop.set()
        await task
        await engine.close()
        if profile is not None:
            profile.disable()
            profile.dump_stats(os.environ["PROFILE"])


def insert(database: Database, account_id: str, first: int, last: int) -> None:
    """New rows, wanted running, each with its operation."""
    with database.transaction() as tx:
        tx.execute(INSERT, {"account_id": account_id, "game": GAME.slug, "first": first, "last": last})
        notify(tx, DESIRED)


def count(database: Database, statement: object) -> int:
    """The number that a statement answers."""
    with database.transaction() as tx:
        return int(tx.execute(statement).scalar_one())  # type: ignore[call-overload]


def looks_done() -> float:
    """How many servers were looked at so far."""
    return REGISTRY.get_sample_value("overworld_controller_reconciles_total", {"outcome": "done"}) or 0.0


async def until(condition: Callable[[], bool], *, pause: float = 0.25, within: float = 300.0) -> None:
    """Wait without disturbing what is measured."""
    give_up_at = time.monotonic() + within
    while not await asyncio.to_thread(condition):
        if time.monotonic() > give_up_at:
            raise TimeoutError("it does not settle")
        await asyncio.sleep(pause)


if __name__ == "__main__":
    main()
