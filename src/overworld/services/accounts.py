"""Accounts: who may use Overworld, and how much of it."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import replace
from datetime import datetime

from overworld.domain.accounts import Account, Action, Actor, Quota, Role, may
from overworld.domain.errors import Conflict, NotAllowed, NotFound, PreconditionFailed
from overworld.services.names import clean_name
from overworld.store import accounts as rows
from overworld.store.database import Transaction


def version_of(account: Account) -> str:
    """What an edit changes of an account, in a few characters: for ETags."""
    content = f"{account.role} {account.quota} {account.disabled_at}"
    return hashlib.blake2b(content.encode(), digest_size=6).hexdigest()


def create(tx: Transaction, actor: Actor, *, name: str, role: Role, quota: Quota, now: datetime) -> Account:
    """A new account, without a token yet. Raises NotAllowed, BadInput for the name, Conflict if it is taken."""
    check_may_manage(actor)
    return rows.create_account(tx, name=clean_name(name), role=role, quota=quota, now=now)


def find(tx: Transaction, actor: Actor, account_id: str) -> Account:
    """The account, if the actor may see it: its own, or any for an admin. Raises NotFound."""
    account = rows.find_account(tx, account_id) if actor.scope in {None, account_id} else None
    if account is None:
        raise NotFound("There is no such account.")
    return account


def edit(
    tx: Transaction,
    actor: Actor,
    account_id: str,
    *,
    expected: Set[str] | None,
    role: Role | None,
    quota: Quota | None,
    disabled: bool | None,
    now: datetime,
) -> Account:
    """The account with what is not None changed. Disabled, none of its tokens works; its servers keep running.

    A quota below what the account owns takes nothing away, it only lets nothing be added. With
    ``expected`` versions (``version_of``) and the present one not among them: PreconditionFailed. Raises NotFound,
    NotAllowed, and Conflict where no enabled admin would be left.
    """
    find(tx, actor, account_id)
    check_may_manage(actor)
    # All admins are locked: two who demote each other at once would leave none.
    admins = rows.lock_admins(tx)
    account = rows.lock_account(tx, account_id)
    if account is None:
        raise NotFound("There is no such account.")
    if expected is not None and version_of(account) not in expected:
        raise PreconditionFailed("The account was changed since you read it. Read it again and repeat the edit.")
    changed = replace(account, role=role or account.role, quota=quota or account.quota)
    if disabled is not None:
        changed = replace(changed, disabled_at=(account.disabled_at or now) if disabled else None)
    if admins == {account.id} and not _is_enabled_admin(changed):
        raise Conflict("This is the last admin. Make another account an admin first.")
    return rows.update_account(tx, changed) if changed != account else account


def check_may_manage(actor: Actor) -> None:
    """Raises NotAllowed unless the actor may create, list and edit accounts."""
    if not may(actor, Action.MANAGE_ACCOUNTS):
        raise NotAllowed("Only an admin may do this.")


def _is_enabled_admin(account: Account) -> bool:
    return account.role is Role.ADMIN and account.disabled_at is None
