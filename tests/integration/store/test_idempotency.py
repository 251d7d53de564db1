"""A repeated request does nothing and gets the first one's answer."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from overworld.domain.accounts import Account
from overworld.domain.errors import BadInput, Conflict
from overworld.domain.servers import Desired
from overworld.store.accounts import count_usage
from overworld.store.database import Database
from overworld.store.idempotency import CLAIM, Saved, claim, give_up, prune, recall, remember
from overworld.store.servers import insert_server
from waiting import wait_until

SAVED = Saved(201, {"Location": "/api/v1/servers/x"}, '{"id": "x"}')


def test_an_answer_is_recalled_by_account_route_and_key(database: Database, now: datetime) -> None:
    """The same key of another account, or on another route, is another request."""
    with database.transaction() as tx:
        assert recall(tx, "ann", "POST /servers", "k", "f", now) is None
        remember(tx, "ann", "POST /servers", "k", "f", SAVED, now)
    with database.transaction() as tx:
        assert recall(tx, "ann", "POST /servers", "k", "f", now) == SAVED
        assert recall(tx, "bob", "POST /servers", "k", "f", now) is None
        assert recall(tx, "ann", "POST /tokens", "k", "f", now) is None
        assert recall(tx, "ann", "POST /servers", "l", "f", now) is None


def test_another_body_is_bad_input(database: Database, now: datetime) -> None:
    """A key stands for one request."""
    with database.transaction() as tx:
        remember(tx, "ann", "r", "k", "f", SAVED, now)
        with pytest.raises(BadInput, match="another body"):
            recall(tx, "ann", "r", "k", "g", now)


def test_a_key_in_work_is_a_conflict(database: Database, now: datetime) -> None:
    """Until the first transaction ends; one that failed leaves no trace."""
    with database.transaction() as first:
        assert recall(first, "ann", "r", "k", "f", now) is None
        with database.transaction() as second:
            with pytest.raises(Conflict, match="still running"):
                recall(second, "ann", "r", "k", "f", now)
            assert recall(second, "ann", "r", "other", "f", now) is None
        first.rollback()
    with database.transaction() as tx:
        assert recall(tx, "ann", "r", "k", "f", now) is None


def test_a_claimed_key_is_its_workers_until_it_ends_or_its_time_has_passed(database: Database, now: datetime) -> None:
    """Work outside of a transaction: a twin is told to wait; then there is the answer, or it may be done again."""
    with database.transaction() as tx:
        claim(tx, "ann", "r", "k", "f", now)
    with database.transaction() as tx, pytest.raises(Conflict, match="still running"):
        recall(tx, "ann", "r", "k", "f", now)
    with database.transaction() as tx:
        assert recall(tx, "ann", "r", "k", "f", now + CLAIM) is None
        claim(tx, "ann", "r", "k", "f", now + CLAIM)
        remember(tx, "ann", "r", "k", "f", SAVED, now)
        give_up(tx, "ann", "r", "k")
    with database.transaction() as tx:
        assert recall(tx, "ann", "r", "k", "f", now) == SAVED
        claim(tx, "ann", "r", "failed", "f", now)
        give_up(tx, "ann", "r", "failed")
        assert recall(tx, "ann", "r", "failed", "f", now) is None


def test_old_answers_are_forgotten(database: Database, now: datetime) -> None:
    """Those from before the given time, no others."""
    with database.transaction() as tx:
        remember(tx, "ann", "r", "old", "f", SAVED, now - timedelta(hours=25))
        remember(tx, "ann", "r", "new", "f", SAVED, now)
        assert prune(tx, now - timedelta(hours=24)) == 1
        assert recall(tx, "ann", "r", "old", "f", now) is None
        assert recall(tx, "ann", "r", "new", "f", now) == SAVED


def test_two_hundred_requests_with_fifty_keys_make_fifty_servers(
    database: Database, account: Account, now: datetime
) -> None:
    """All at once, each repeated while it is told to: exactly one server a key, and one answer."""

    def request(number: int) -> tuple[str, str]:
        key = f"key-{number % 50}"

        def answer() -> Saved | None:
            try:
                with database.transaction() as tx:
                    saved = recall(tx, account.id, "POST /servers", key, "f", now)
                    if saved is None:
                        server = insert_server(
                            tx,
                            account_id=account.id,
                            name=f"{key}-{number}",
                            game="luanti",
                            desired=Desired.RUNNING,
                            variables={},
                            memory_mib=1,
                            now=now,
                        )
                        saved = Saved(201, {}, server.id)
                        remember(tx, account.id, "POST /servers", key, "f", saved, now)
                    return saved
            except Conflict:
                return None

        return key, wait_until(answer, 30, f"an answer to {key}").body

    with ThreadPoolExecutor(10) as pool:
        answers = set(pool.map(request, range(200)))
    assert len(answers) == 50
    assert set(Counter(key for key, _ in answers).values()) == {1}
    with database.transaction() as tx:
        assert count_usage(tx, account.id)[0] == 50
