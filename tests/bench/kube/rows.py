"""Servers as rows, made faster than by requests: what web would have written, and nothing that it would not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import text

import postgres
from overworld.domain.accounts import Quota, Role
from overworld.services import bootstrap
from overworld.store import schema
from overworld.store.accounts import create_account
from overworld.store.database import Database
from overworld.store.notify import DESIRED, notify

GAME = "echo"
MEMORY_MIB = 64
FIRST_ID = 100_000_000_000
"""So that an id is as long as a real one."""

INSERT = text("""
    WITH made AS (
        INSERT INTO server (id, account_id, name, game, generation, desired, desired_generation, restarts, variables,
            memory_mib, world_generation, created_at, updated_at)
        SELECT 'b' || i, :account_id, 'bench ' || i, :game, 1, :desired, 1, 0, '{}', :memory_mib, 1, now(), now()
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS i
        RETURNING id, account_id
    )
    INSERT INTO operation (id, server_id, account_id, kind, generation, created_at, outcome, reason, message)
    SELECT 'op' || id, id, account_id, 'create', 1, now(), 'running', '', '' FROM made
""")
SETTLED = text("SELECT count(*) FROM operation WHERE outcome = 'succeeded'")
FAILED = text("""
    SELECT operation.server_id, operation.message FROM operation WHERE outcome NOT IN ('running', 'succeeded') LIMIT 1
""")
WRITTEN = text("SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables")
LATE = text("SELECT server_id, state, conditions FROM server_status WHERE state <> 'running' LIMIT 1")


class Rows:
    """The servers of one benchmark, all of one account."""

    def __init__(self, url: str) -> None:
        schema.upgrade(url)
        self.url = url
        self._database = Database(url, application_name="bench", pool_size=2)
        with self._database.transaction() as tx:
            owner = create_account(tx, name="bench", role=Role.USER, quota=Quota(0, 0), now=datetime.now(UTC))
        self._account_id = owner.id
        self._next = FIRST_ID

    def make_token(self) -> str:
        """The token of an admin who may ask for servers by the API."""
        with self._database.transaction() as tx:
            token = bootstrap.ensure_admin_token(tx, None, datetime.now(UTC))
        assert token is not None
        return token

    def add(self, count: int, *, desired: str = "running") -> None:
        """New servers, with the news of them."""
        last = self._next + count - 1
        values = {"account_id": self._account_id, "game": GAME, "memory_mib": MEMORY_MIB, "desired": desired}
        with self._database.transaction() as tx:
            tx.execute(INSERT, {**values, "first": self._next, "last": last})
            notify(tx, DESIRED)
        self._next = last + 1

    def count_settled(self) -> int:
        """How many are as they were wished to be. Raises AssertionError if one never will be."""
        with self._database.transaction() as tx:
            failed = tx.execute(FAILED).first()
            assert failed is None, failed
            return int(tx.execute(SETTLED).scalar_one())

    def explain(self) -> object:
        """One that does not run, for the message of a benchmark that fails."""
        with self._database.transaction() as tx:
            return tx.execute(LATE).first()

    def count_writes(self) -> dict[str, int]:
        """Rows written so far, of each table (PostgreSQL tells up to a second late)."""
        with self._database.transaction() as tx:
            return {name: int(count) for name, count in tx.execute(WRITTEN)}

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


@contextmanager
def open_rows() -> Iterator[Rows]:
    """A PostgreSQL of its own, without any server."""
    with postgres.run_cluster() as url:
        rows = Rows(url)
        try:
            yield rows
        finally:
            rows.close()


def server_ids(first: int, count: int) -> list[str]:
    """Ids of servers that are in no row, for a program that works without."""
    return [f"c{FIRST_ID + number}" for number in range(first, first + count)]
