"""The mark of a recovery in a real database, and what has to be before one begins there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import postgres
from overworld.domain.accounts import Quota, Role
from overworld.domain.errors import Conflict
from overworld.services.bootstrap import ensure_admin_token
from overworld.store import accounts, recovery_mark, schema
from overworld.store.database import Database


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database with nothing in it."""
    url = postgres.create_database(postgres_url, "template0")
    yield url
    postgres.drop_database(url, postgres_url)


def test_a_mark_needs_no_table_and_outlives_what_is_in_the_database(empty_url: str) -> None:
    """It is there before the schema is, can be written anew, and keeps whoever asks from starting until it ends."""
    recovery_mark.check_no_mark(empty_url)
    recovery_mark.write_mark(empty_url, {"dump_id": "1"})
    recovery_mark.write_mark(empty_url, {"dump_id": "2", "present": ["a"]})
    schema.upgrade(empty_url)
    assert recovery_mark.read_mark(empty_url) == {"dump_id": "2", "present": ["a"]}
    with pytest.raises(Conflict, match="run `overworld recover` again"):
        recovery_mark.check_no_mark(empty_url)
    recovery_mark.remove_mark(empty_url)
    recovery_mark.remove_mark(empty_url)
    recovery_mark.check_no_mark(empty_url)


def test_only_what_nobody_has_used_is_cleared(database: Database) -> None:
    """An installation that was started and given an admin has nothing to lose; one account more, and it stays."""
    assert not recovery_mark.has_content(database.url)
    with database.transaction() as tx:
        ensure_admin_token(tx, None, datetime.now(UTC))
    assert not recovery_mark.has_content(database.url)
    database.close()
    recovery_mark.clear_unused(database.url)
    assert schema.current_revision(database.url) is None
    schema.upgrade(database.url)
    with database.transaction() as tx:
        accounts.create_account(tx, name="anna", role=Role.USER, quota=Quota(1, 1), now=datetime.now(UTC))
    assert recovery_mark.has_content(database.url)
    recovery_mark.clear_unused(database.url)
    assert schema.is_current(database.url)


def test_only_one_recovers_and_only_while_nothing_runs(empty_url: str) -> None:
    """Refused with who is there: another recovery, or a role that is connected."""
    with recovery_mark.only_recovery(empty_url):
        with pytest.raises(Conflict, match="at work already"), recovery_mark.only_recovery(empty_url):
            pass
        recovery_mark.write_mark(empty_url, {})
    controller = Database(empty_url, application_name="overworld-controller")
    try:
        with (
            controller.transaction(),
            pytest.raises(Conflict, match=r"\(controller\)"),
            recovery_mark.only_recovery(empty_url),
        ):
            pass
    finally:
        controller.close()
    with recovery_mark.only_recovery(empty_url):
        pass
