"""API tokens, remembered by hash."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, insert, or_, select, update

from overworld.domain.accounts import Account, Token
from overworld.store.codecs import read_account, read_token
from overworld.store.database import Transaction
from overworld.store.pages import DEFAULT_PAGE_SIZE, Order, Page, fetch_page
from overworld.store.tables import account, token

TOUCH_EVERY = timedelta(minutes=1)

_NEWEST_FIRST = Order("tokens", (token.c.created_at, token.c.id), (datetime, str), descending=True)


def insert_token(tx: Transaction, new: Token, hash_: str) -> None:
    """Remember a token by its hash."""
    tx.execute(
        insert(token).values(
            id=new.id,
            account_id=new.account_id,
            label=new.label,
            prefix=new.prefix,
            hash=hash_,
            created_at=new.created_at,
            expires_at=new.expires_at,
            last_used_at=new.last_used_at,
            revoked_at=new.revoked_at,
        )
    )


def find_token_by_prefix(tx: Transaction, prefix: str) -> tuple[Token, str, Account] | None:
    """The token with that public prefix, its hash and its account, by one statement. Says nothing about whether it
    is expired or revoked, or its account disabled: the caller must look."""
    row = (
        tx.execute(
            select(token, *(column.label(f"account_{column.name}") for column in account.c if column.name != "id"))
            .join(account, account.c.id == token.c.account_id)
            .where(token.c.prefix == prefix)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    owner = {"id": row["account_id"]} | {
        column.name: row[f"account_{column.name}"] for column in account.c if column.name != "id"
    }
    return read_token(row), row["hash"], read_account(owner)


def list_tokens(
    tx: Transaction, account_id: str, *, page_size: int = DEFAULT_PAGE_SIZE, page_token: str | None = None
) -> Page[Token]:
    """The account's tokens, newest first, revoked ones too."""
    return fetch_page(
        tx,
        select(token).where(token.c.account_id == account_id),
        _NEWEST_FIRST,
        page_size=page_size,
        page_token=page_token,
        read=lambda row: read_token(row._mapping),
        key=lambda found: (found.created_at, found.id),
    )


def revoke_token(tx: Transaction, account_id: str, token_id: str, now: datetime) -> Token | None:
    """The account's token, revoked; None if there is none. Safe to call twice: the first time stays."""
    row = (
        tx.execute(
            update(token)
            .where(token.c.id == token_id, token.c.account_id == account_id)
            .values(revoked_at=func.coalesce(token.c.revoked_at, now))
            .returning(token)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else read_token(row)


def touch_token(tx: Transaction, token_id: str, now: datetime) -> None:
    """Remember that the token was used; writes at most once a minute, so that reading stays cheap."""
    tx.execute(
        update(token)
        .where(
            token.c.id == token_id,
            or_(token.c.last_used_at.is_(None), token.c.last_used_at <= now - TOUCH_EVERY),
        )
        .values(last_used_at=now)
    )
