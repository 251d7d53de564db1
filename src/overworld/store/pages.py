"""Cursor pages: a token names the last row that was seen, so rows that come or go never shift the others."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import BindParameter, ColumnElement, Row, Select, bindparam, literal, tuple_

from overworld.domain.errors import BadInput
from overworld.store.database import Transaction

T = TypeVar("T")
Key = str | int | datetime

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
MAX_TOKEN_LENGTH = 2000
BIGINT = 2**63


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list; ``next_token`` asks for those after them, None means that there are no more."""

    items: tuple[T, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """A total order to page by. ``name`` goes into the token, so that it is refused by any other list.

    ``columns`` end in a unique one; ``kinds`` are their Python types.
    """

    name: str
    columns: tuple[ColumnElement[Any], ...]
    kinds: tuple[type[Key], ...]
    descending: bool = False

    def after(self, statement: Select[Any], token: str | None) -> Select[Any]:
        """The statement in this order, beginning after the row that ``token`` names. Raises ``BadInput`` for a token
        that was not made by this order's ``token``."""
        ordered = statement.order_by(*(column.desc() if self.descending else column for column in self.columns))
        if token is None:
            return ordered
        key = tuple_(
            *(literal(value, column.type) for value, column in zip(self._read(token), self.columns, strict=True))
        )
        row = tuple_(*self.columns)
        return ordered.where(row < key if self.descending else row > key)

    def token(self, key: Sequence[Key]) -> str:
        """The token of the page after the row with that key. Opaque to clients."""
        values = [value.isoformat() if isinstance(value, datetime) else value for value in key]
        return base64.urlsafe_b64encode(json.dumps([self.name, *values]).encode()).decode().rstrip("=")

    def _read(self, token: str) -> tuple[Key, ...]:
        try:
            if len(token) > MAX_TOKEN_LENGTH:
                raise ValueError("too long")
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            name, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            if name != self.name:
                raise ValueError("of another list")
            return tuple(_read_value(value, kind) for value, kind in zip(values, self.kinds, strict=True))
        except (ValueError, TypeError, RecursionError) as error:
            raise BadInput(
                "The page token is none of this list's. Take next_page_token from the page before, unchanged, with "
                "the same sort order; or leave it out to begin at the first page.",
                errors=[{"at": "/page_token", "says": "not a token of this list"}],
            ) from error


def fetch_page(
    tx: Transaction,
    statement: Select[Any],
    order: Order,
    *,
    page_size: int,
    page_token: str | None,
    read: Callable[[Row[Any]], T],
    key: Callable[[T], Sequence[Key]],
) -> Page[T]:
    """One page of ``statement`` in ``order``, by one statement. Raises ``BadInput`` for a bad token or size."""
    rows = tx.execute(order.after(statement, page_token).limit(rows_of_page(page_size))).all()
    return cut_page([read(row) for row in rows], order, page_size, key)


def cut_page(items: Sequence[T], order: Order, page_size: int, key: Callable[[T], Sequence[Key]]) -> Page[T]:
    """A page from up to ``page_size + 1`` items: the last one only tells that there is more."""
    kept = tuple(items[:page_size])
    return Page(kept, order.token(key(kept[-1])) if len(items) > page_size else None)


def rows_of_page(page_size: int) -> BindParameter[int]:
    """How many rows to ask for: one more than are shown, which tells whether there is a next page.

    The number stands in the statement itself: for a parameter the plan of a prepared statement expects a tenth of the
    table. Raises ``BadInput``.
    """
    return bindparam("rows_of_page", check_page_size(page_size) + 1, literal_execute=True)


def check_page_size(page_size: int) -> int:
    """The page size, or ``BadInput`` unless it is 1 to 1000."""
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise BadInput(
            f"The page size is {page_size}; it must be 1 to {MAX_PAGE_SIZE}.",
            errors=[{"at": "/page_size", "says": f"must be 1 to {MAX_PAGE_SIZE}"}],
        )
    return page_size


def _read_value(value: object, kind: type[Key]) -> Key:
    if kind is int:
        if type(value) is not int or not -BIGINT <= value < BIGINT:
            raise ValueError("not a number of ours")
        return value
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("not a text of ours")
    value.encode()  # a lone surrogate raises, and UnicodeEncodeError is a ValueError
    if kind is datetime:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError("a time without a zone")
        return at
    return value
