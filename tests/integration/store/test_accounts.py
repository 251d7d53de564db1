"""Accounts, their tokens and their quota."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from overworld.domain.accounts import Account, Quota, Role, Token
from overworld.domain.errors import Conflict, NotFound
from overworld.domain.servers import Desired, Server
from overworld.store import accounts, tokens
from overworld.store.database import Database
from overworld.store.ids import new_id
from overworld.store.servers import insert_server


def make_token(account: Account, now: datetime, prefix: str = "abcd") -> Token:
    """A token that was never used."""
    return Token(new_id(), account.id, "laptop", prefix, now, now + timedelta(days=1), None, None)


def test_an_account_is_found_as_it_was_made(database: Database, account: Account) -> None:
    """By id and by name, and by nothing else."""
    with database.transaction() as tx:
        assert accounts.find_account(tx, account.id) == account
        assert accounts.find_account_by_name(tx, "ann") == account
        assert accounts.lock_account(tx, account.id) == account
        assert accounts.find_account(tx, "ann") is None
        assert accounts.lock_account(tx, "nobody") is None


def test_a_name_is_taken_once(database: Database, account: Account, now: datetime) -> None:
    """The second account of a name is a conflict, and the transaction goes on."""
    with database.transaction() as tx:
        with pytest.raises(Conflict, match="'ann'"):
            accounts.create_account(tx, name="ann", role=Role.ADMIN, quota=Quota(1, 1), now=now)
        assert accounts.list_accounts(tx).items == (account,)


def test_role_quota_and_disabling_are_edited(database: Database, account: Account, now: datetime) -> None:
    """The rest of an account never changes."""
    changed = replace(account, role=Role.ADMIN, quota=Quota(0, 0), disabled_at=now)
    with database.transaction() as tx:
        assert accounts.update_account(tx, replace(changed, name="other")) == changed
    with database.transaction() as tx, pytest.raises(NotFound):
        accounts.update_account(tx, replace(account, id="gone"))


def test_accounts_are_listed_by_name(database: Database, make_account: Callable[..., Account]) -> None:
    """Page by page, each once."""
    for name in ("dan", "ann", "carl", "bob", "eve"):
        make_account(name)
    names: list[str] = []
    token = None
    with database.transaction() as tx:
        while True:
            page = accounts.list_accounts(tx, page_size=2, page_token=token)
            names += [found.name for found in page.items]
            token = page.next_token
            if token is None:
                break
    assert names == ["ann", "bob", "carl", "dan", "eve"]


def test_a_token_is_found_with_its_hash_and_its_account(database: Database, account: Account, now: datetime) -> None:
    """All that a request needs to know, by the public prefix."""
    token = make_token(account, now)
    with database.transaction() as tx:
        tokens.insert_token(tx, token, "hash")
        assert tokens.find_token_by_prefix(tx, "abcd") == (token, "hash", account)
        assert tokens.find_token_by_prefix(tx, "abc") is None


def test_a_token_is_revoked_once_and_by_its_account_alone(
    database: Database, account: Account, make_account: Callable[..., Account], now: datetime
) -> None:
    """The first time stays; another account's token is as none."""
    other = make_account("bob")
    token = make_token(account, now)
    later = now + timedelta(hours=1)
    with database.transaction() as tx:
        tokens.insert_token(tx, token, "hash")
        assert tokens.revoke_token(tx, other.id, token.id, now) is None
        assert tokens.revoke_token(tx, account.id, token.id, now) == replace(token, revoked_at=now)
        assert tokens.revoke_token(tx, account.id, token.id, later) == replace(token, revoked_at=now)
        assert tokens.list_tokens(tx, account.id).items == (replace(token, revoked_at=now),)
        assert tokens.list_tokens(tx, other.id).items == ()


def test_a_token_is_touched_at_most_once_a_minute(database: Database, account: Account, now: datetime) -> None:
    """Reading stays reading: 59 seconds later nothing is written."""
    token = make_token(account, now)
    with database.transaction() as tx:
        tokens.insert_token(tx, token, "hash")
        for seconds, expected in ((0, 0), (59, 0), (60, 60), (61, 60)):
            tokens.touch_token(tx, token.id, now + timedelta(seconds=seconds))
            found = tokens.find_token_by_prefix(tx, "abcd")
            assert found is not None
            assert found[0].last_used_at == now + timedelta(seconds=expected)


def test_usage_counts_deleted_servers(
    database: Database, account: Account, make_account: Callable[..., Account], make_server: Callable[..., Server]
) -> None:
    """Every row counts until it is purged; other accounts' do not."""
    make_server(account, "one", memory_mib=100)
    make_server(account, "two", memory_mib=200, desired=Desired.STOPPED)
    make_server(make_account("bob"), "one", memory_mib=400)
    with database.transaction() as tx:
        assert accounts.count_usage(tx, account.id) == (2, 300)
        assert accounts.count_usage(tx, "nobody") == (0, 0)


def test_who_locks_the_account_counts_alone(database: Database, account: Account, now: datetime) -> None:
    """Twenty creations at once with room for three: exactly three."""

    def create(number: int) -> bool:
        with database.transaction() as tx:
            assert accounts.lock_account(tx, account.id)
            if accounts.count_usage(tx, account.id)[0] >= 3:
                return False
            insert_server(
                tx,
                account_id=account.id,
                name=f"s{number}",
                game="luanti",
                desired=Desired.RUNNING,
                variables={},
                memory_mib=1,
                now=now,
            )
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(20))) == 3
