"""The first account: whoever owns the machine is an admin."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from overworld.domain.accounts import Account, Quota, Role
from overworld.domain.errors import NotAuthenticated
from overworld.services import tokens
from overworld.store import accounts as rows
from overworld.store.database import Transaction

ADMIN_NAME = "admin"
# What PostgreSQL's integer holds: the owner of the machine is limited by the machine alone.
UNLIMITED = Quota(servers=2**31 - 1, memory_mib=2**31 - 1)


def ensure_admin_token(tx: Transaction, remembered: str | None, now: datetime) -> str:
    """A token that works and belongs to an admin: ``remembered`` if it is one, else a new one of the account "admin".

    That account is created where it is missing and made an enabled admin again where it is not. Safe to call twice;
    two callers at once must be kept apart by the caller.
    """
    if remembered is not None:
        try:
            actor, _ = tokens.authenticate(tx, remembered, now)
        except NotAuthenticated:
            pass  # revoked, or of another database
        else:
            if actor.role is Role.ADMIN:
                return remembered
    return tokens.issue_for(tx, _ensure_admin(tx, now), label="this machine", lifetime=None, now=now).plain


def _ensure_admin(tx: Transaction, now: datetime) -> Account:
    account = rows.find_account_by_name(tx, ADMIN_NAME)
    if account is None:
        return rows.create_account(tx, name=ADMIN_NAME, role=Role.ADMIN, quota=UNLIMITED, now=now)
    if account.role is Role.ADMIN and account.disabled_at is None:
        return account
    return rows.update_account(tx, replace(account, role=Role.ADMIN, disabled_at=None))
