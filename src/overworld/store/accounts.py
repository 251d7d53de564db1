"""Accounts and what they own."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.accounts import Account, Quota, Role
from overworld.domain.errors import Conflict, NotFound
from overworld.store.codecs import read_account
from overworld.store.database import Transaction
from overworld.store.ids import new_id
from overworld.store.pages import DEFAULT_PAGE_SIZE, Order, Page, fetch_page
from overworld.store.tables import account, server

_BY_NAME = Order("accounts", (account.c.name, account.c.id), (str, str))


def create_account(tx: Transaction, *, name: str, role: Role, quota: Quota, now: datetime) -> Account:
    """A new account. Raises ``Conflict`` if its name is taken."""
    row = (
        tx.execute(
            insert(account)
            .values(
                id=new_id(),
                name=name,
                role=role,
                max_servers=quota.servers,
                max_memory_mib=quota.memory_mib,
                created_at=now,
            )
            .on_conflict_do_nothing(index_elements=[account.c.name])
            .returning(account)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise Conflict(f"There is an account named {name!r} already; choose another name.")
    return read_account(row)


def find_account(tx: Transaction, account_id: str) -> Account | None:
    """The account of that id."""
    row = tx.execute(select(account).where(account.c.id == account_id)).mappings().one_or_none()
    return None if row is None else read_account(row)


def find_account_by_name(tx: Transaction, name: str) -> Account | None:
    """The account of that name."""
    row = tx.execute(select(account).where(account.c.name == name)).mappings().one_or_none()
    return None if row is None else read_account(row)


def list_accounts(
    tx: Transaction, *, page_size: int = DEFAULT_PAGE_SIZE, page_token: str | None = None
) -> Page[Account]:
    """All accounts by name."""
    return fetch_page(
        tx,
        select(account),
        _BY_NAME,
        page_size=page_size,
        page_token=page_token,
        read=lambda row: read_account(row._mapping),
        key=lambda found: (found.name, found.id),
    )


def update_account(tx: Transaction, changed: Account) -> Account:
    """Write role, quota and ``disabled_at`` of an account. Raises ``NotFound`` if there is none of that id."""
    row = (
        tx.execute(
            update(account)
            .where(account.c.id == changed.id)
            .values(
                role=changed.role,
                max_servers=changed.quota.servers,
                max_memory_mib=changed.quota.memory_mib,
                disabled_at=changed.disabled_at,
            )
            .returning(account)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound("There is no such account.")
    return read_account(row)


def lock_account(tx: Transaction, account_id: str) -> Account | None:
    """The account, held until the transaction ends: whoever counts its quota after this counts alone."""
    row = tx.execute(select(account).where(account.c.id == account_id).with_for_update()).mappings().one_or_none()
    return None if row is None else read_account(row)


def count_usage(tx: Transaction, account_id: str) -> tuple[int, int]:
    """How many servers the account owns and their memory in MiB; deleted ones count until they are purged."""
    servers, memory_mib = tx.execute(
        select(func.count(), func.coalesce(func.sum(server.c.memory_mib), 0)).where(server.c.account_id == account_id)
    ).one()
    return servers, memory_mib


def lock_admins(tx: Transaction) -> frozenset[str]:
    """The ids of all enabled admins, held until the transaction ends: whoever takes one's role away does it alone."""
    found = tx.execute(
        select(account.c.id)
        .where(account.c.role == Role.ADMIN, account.c.disabled_at.is_(None))
        .order_by(account.c.id)
        .with_for_update()
    )
    return frozenset(found.scalars())
