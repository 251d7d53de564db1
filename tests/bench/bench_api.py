"""``GET /servers`` over a real web process and PostgreSQL 15: 50 of 100, 1,000 and 10,000 servers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
from sqlalchemy import text

import postgres
from bench.figures import report
from installation import free_port, json_of
from overworld.services import bootstrap
from overworld.store import schema
from overworld.store.database import Database
from waiting import wait_until

SIZES = (100, 1_000, 10_000)
REQUESTS = 500

INSERT = text("""
    WITH made AS (
        INSERT INTO server (id, account_id, name, game, generation, desired, desired_generation, restarts, variables,
            memory_mib, world_generation, created_at, updated_at)
        SELECT 'bench' || i, (SELECT id FROM account LIMIT 1), 'bench' || i, 'luanti', 1, 'running', 1, 0, '{}', 512, 1,
            now() - i * interval '1 second', now()
        FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS i
        RETURNING id
    )
    INSERT INTO server_status (server_id, observed_generation, state, conditions, endpoints, updated_at)
    SELECT id, 1, 'running', CAST(:conditions AS jsonb), '[]', now() FROM made
""")
CONDITIONS = (
    '[{"type": "Ready", "status": "True", "reason": "Answering", "message": "Players can join.",'
    ' "observed_generation": 1, "since": "2026-01-01T00:00:00+00:00"}]'
)


def main() -> None:
    """Measure and report."""
    with postgres.run_cluster() as url:
        schema.upgrade(url)
        database = Database(url, application_name="bench")
        try:
            with database.transaction() as tx:
                token = bootstrap.ensure_admin_token(tx, None, datetime.now(UTC))
            with web(url) as address, client(address, token) as api:
                before = 0
                for size in SIZES:
                    with database.transaction() as tx:
                        tx.execute(INSERT, {"first": before + 1, "last": size, "conditions": CONDITIONS})
                        tx.execute(text("ANALYZE server, server_status"))
                    before = size
                    measure(api, size)
        finally:
            database.close()


def measure(api: httpx.Client, size: int) -> None:
    """Report median and p99 of a page of 50, asked for one after another."""
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        page = json_of(api.get("/servers", params={"page_size": 50}))
        times.append((time.perf_counter() - began) * 1000)
        assert len(page["items"]) == 50
    times.sort()
    report(f"GET /servers, 50 of {size:,}, median", statistics.median(times), "ms")
    report(f"GET /servers, 50 of {size:,}, p99", times[round(len(times) * 0.99) - 1], "ms", "≤ 25")


@contextmanager
def web(url: str) -> Iterator[str]:
    """A web process on that database; its address."""
    port = free_port()
    environment = os.environ | {
        "OVERWORLD_DATABASE_URL": url,
        "OVERWORLD_LISTEN_PORT": str(port),
        "OVERWORLD_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen([sys.executable, "-m", "overworld", "web"], env=environment)
    address = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return httpx.get(f"{address}/readyz", timeout=2).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(is_ready, 20, "web answers")
        yield address
    finally:
        process.terminate()
        process.wait(20)


def client(address: str, token: str) -> httpx.Client:
    """A client of its API."""
    return httpx.Client(base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=10)


if __name__ == "__main__":
    main()
