"""Accounts and tokens: the last admin stays, and a token opens what it should for as long as it should."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from overworld.domain.accounts import Account, Actor, Quota, Role
from overworld.domain.errors import Conflict, NotAllowed, NotAuthenticated, NotFound, OverworldError, PreconditionFailed
from overworld.services import accounts, bootstrap, tokens
from overworld.store import accounts as rows
from overworld.store.database import Database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUOTA = Quota(servers=1, memory_mib=1024)


def make(database: Database, name: str, role: Role) -> Account:
    """An account."""
    with database.transaction() as tx:
        return rows.create_account(tx, name=name, role=role, quota=QUOTA, now=NOW)


def actor(account: Account) -> Actor:
    """Somebody who acts by that account."""
    return Actor(account_id=account.id, name=account.name, role=account.role)


def edit(database: Database, by: Account, target: Account, **changes: object) -> Account:
    """One edit in a transaction of its own."""
    given = {"expected": None, "role": None, "quota": None, "disabled": None, **changes}
    with database.transaction() as tx:
        return accounts.edit(tx, actor(by), target.id, now=NOW, **given)  # type: ignore[arg-type]


def test_the_last_admin_stays(database: Database) -> None:
    """Neither demoted nor disabled; once there is another one, it can be."""
    anna = make(database, "anna", Role.ADMIN)
    for changes in ({"role": Role.USER}, {"disabled": True}):
        with pytest.raises(Conflict):
            edit(database, anna, anna, **changes)
    ben = make(database, "ben", Role.ADMIN)
    assert edit(database, anna, anna, role=Role.USER).role is Role.USER
    with pytest.raises(Conflict):
        edit(database, ben, ben, disabled=True)


@pytest.mark.parametrize("turn", range(5))
def test_two_admins_who_demote_each_other_at_once_leave_one(database: Database, turn: int) -> None:
    """Whoever comes second is refused."""
    pair = [make(database, name, Role.ADMIN) for name in ("anna", "ben")]

    def demote(order: int) -> type[OverworldError] | None:
        try:
            edit(database, pair[order], pair[1 - order], role=Role.USER)
        except OverworldError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(demote, (0, 1))) == {None, Conflict}
    with database.transaction() as tx:
        assert len(rows.lock_admins(tx)) == 1


def test_an_edit_of_another_version_is_refused(database: Database) -> None:
    """The version follows what an edit changes."""
    admin = make(database, "admin", Role.ADMIN)
    user = make(database, "user", Role.USER)
    version = accounts.version_of(user)
    changed = edit(database, admin, user, quota=Quota(2, 2), expected={version})
    assert accounts.version_of(changed) != version
    with pytest.raises(PreconditionFailed):
        edit(database, admin, user, quota=Quota(3, 3), expected={version})


def test_users_neither_see_nor_manage_others(database: Database) -> None:
    """Another account is not there; one's own cannot be edited by oneself."""
    anna, ben = (make(database, name, Role.USER) for name in ("anna", "ben"))
    with database.transaction() as tx:
        assert accounts.find(tx, actor(anna), anna.id) == anna
        with pytest.raises(NotFound):
            accounts.find(tx, actor(anna), ben.id)
        with pytest.raises(NotFound):
            tokens.issue(tx, actor(anna), ben.id, label="x", lifetime=None, now=NOW)
    with pytest.raises(NotAllowed):
        edit(database, anna, anna, quota=Quota(1000, 1000))


@pytest.mark.parametrize(
    ("spoil", "later"),
    [
        (lambda database, issued, admin: None, timedelta(hours=1)),
        (
            lambda database, issued, admin: revoke(database, issued),
            timedelta(0),
        ),
        (
            lambda database, issued, admin: edit(database, admin, find(database, issued), disabled=True),
            timedelta(0),
        ),
    ],
    ids=["expired", "revoked", "disabled account"],
)
def test_a_token_ends(
    database: Database, spoil: Callable[[Database, tokens.IssuedToken, Account], object], later: timedelta
) -> None:
    """Expired, revoked or of a disabled account: the same refusal; before, it opens its account."""
    admin = make(database, "admin", Role.ADMIN)
    user = make(database, "user", Role.USER)
    with database.transaction() as tx:
        issued = tokens.issue(tx, actor(user), user.id, label="x", lifetime=timedelta(hours=1), now=NOW)
        found, token = tokens.authenticate(tx, issued.plain, NOW)
        assert (found.account_id, token.id) == (user.id, issued.token.id)
    spoil(database, issued, admin)
    with database.transaction() as tx, pytest.raises(NotAuthenticated) as caught:
        tokens.authenticate(tx, issued.plain, NOW + later)
    assert caught.value.detail == tokens.refusal().detail


def revoke(database: Database, issued: tokens.IssuedToken) -> None:
    """Revoke it twice: the second time changes nothing."""
    owner = actor(find(database, issued))
    with database.transaction() as tx:
        first = tokens.revoke(tx, owner, issued.token.account_id, issued.token.id, NOW)
        again = tokens.revoke(tx, owner, issued.token.account_id, issued.token.id, NOW + timedelta(days=1))
        assert first == again


def find(database: Database, issued: tokens.IssuedToken) -> Account:
    """The account of a token."""
    with database.transaction() as tx:
        account = rows.find_account(tx, issued.token.account_id)
    assert account is not None
    return account


def test_the_machines_owner_has_a_token_that_works(database: Database) -> None:
    """A remembered token is kept while it works as an admin's; else there is a new one, whatever happened to the
    account."""
    with database.transaction() as tx:
        first = bootstrap.ensure_admin_token(tx, None, NOW)
        assert bootstrap.ensure_admin_token(tx, first, NOW) == first
        found, token = tokens.authenticate(tx, first, NOW)
        assert found.role is Role.ADMIN
        tokens.revoke(tx, found, found.account_id, token.id, NOW)
        second = bootstrap.ensure_admin_token(tx, first, NOW)
        assert second != first
        account = rows.find_account(tx, found.account_id)
        assert account is not None
        rows.update_account(tx, replace(account, role=Role.USER, disabled_at=NOW))
        third = bootstrap.ensure_admin_token(tx, second, NOW)
        assert tokens.authenticate(tx, third, NOW)[0].role is Role.ADMIN
        assert bootstrap.ensure_admin_token(tx, "nonsense", NOW) != third
