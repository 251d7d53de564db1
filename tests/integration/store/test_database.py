"""Transactions commit, roll back, and tell PostgreSQL's faults in domain errors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg
import pytest
from sqlalchemy import text

from overworld.domain.accounts import Account, Quota, Role
from overworld.domain.errors import BadInput, Unavailable
from overworld.store.accounts import create_account, find_account_by_name, list_accounts
from overworld.store.database import Database

QUOTA = Quota(1, 1)


def test_an_error_rolls_back(database: Database, now: datetime) -> None:
    """Nothing of the block stays."""

    def fail() -> None:
        with database.transaction() as tx:
            create_account(tx, name="ann", role=Role.USER, quota=QUOTA, now=now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.transaction() as tx:
        assert find_account_by_name(tx, "ann") is None


def test_times_are_utc_whatever_the_server_thinks(database: Database, account: Account, now: datetime) -> None:
    """The test cluster lives in Kathmandu; rows still come back in UTC."""
    with database.transaction() as tx:
        found = find_account_by_name(tx, "ann")
    assert found is not None
    assert found.created_at == now
    assert found.created_at.utcoffset() == timedelta(0)


def test_the_isolation_is_read_committed(database: Database, make_account: Callable[..., Account]) -> None:
    """A later statement sees what others committed in between."""
    with database.transaction() as tx:
        assert list_accounts(tx).items == ()
        made = make_account("bob")
        assert list_accounts(tx).items == (made,)


def test_a_dead_connection_is_replaced_before_its_next_use(database: Database, database_url: str) -> None:
    """PostgreSQL ended our sessions while they were idle: nobody notices."""
    with database.transaction() as tx:
        pid = tx.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with database.transaction() as tx:
        assert tx.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid


def test_a_connection_lost_in_between_is_unavailable(database: Database, database_url: str) -> None:
    """The transaction fails as a passing fault, and the next one works."""

    def lose() -> None:
        with database.transaction() as tx:
            pid = tx.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            tx.execute(text("SELECT 1"))

    with pytest.raises(Unavailable, match="does not answer"):
        lose()
    with database.transaction() as tx:
        tx.execute(text("SELECT 1"))


def test_a_slow_statement_is_cancelled(database_url: str) -> None:
    """After the statement time-out, by PostgreSQL."""
    database = Database(database_url, application_name="tests", statement_timeout=timedelta(milliseconds=50))
    with pytest.raises(Unavailable, match="too long"), database.transaction() as tx:
        tx.execute(text("SELECT pg_sleep(30)"))
    database.close()


def test_an_exhausted_pool_is_unavailable(database_url: str) -> None:
    """Who finds no connection in time is told so; it never hangs."""
    database = Database(
        database_url, application_name="tests", pool_size=1, statement_timeout=timedelta(milliseconds=50)
    )
    with database.transaction(), pytest.raises(Unavailable, match="in use"), database.transaction():
        pass
    database.close()


def test_no_database_is_unavailable() -> None:
    """The first transaction says so; making the object does not."""
    database = Database("postgresql://nobody@127.0.0.1:1/none", application_name="tests")
    with pytest.raises(Unavailable, match="does not answer"), database.transaction():
        pass
    database.close()


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_text_that_cannot_be_stored_is_bad_input(database: Database, now: datetime, name: str) -> None:
    """A hostile name is the asker's fault, in reading and in writing."""
    with pytest.raises(BadInput), database.transaction() as tx:
        find_account_by_name(tx, name)
    with pytest.raises(BadInput), database.transaction() as tx:
        create_account(tx, name=name, role=Role.USER, quota=QUOTA, now=now)


def test_a_number_that_does_not_fit_is_bad_input(database: Database, now: datetime) -> None:
    """As the texts."""
    with pytest.raises(BadInput), database.transaction() as tx:
        create_account(tx, name="ann", role=Role.USER, quota=Quota(2**40, 1), now=now)
