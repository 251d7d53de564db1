"""Lists of servers: filtered, sorted and paged by one statement that reads no more rows than it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, any_, bindparam, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from overworld.domain.errors import BadInput
from overworld.domain.servers import Desired
from overworld.domain.state import State
from overworld.store.database import Transaction
from overworld.store.pages import DEFAULT_PAGE_SIZE, Key, Order, Page, cut_page, rows_of_page
from overworld.store.server_rows import STORED_STATE, ServerView, read_view, select_views
from overworld.store.tables import account, server, server_status

DEFAULT_SORT = "-created_at"


@dataclass(frozen=True, slots=True)
class ServerFilters:
    """Which servers are listed; every filter narrows.

    ``states`` (empty: any) compares the state that the controller stored; ``name_contains`` ignores case; ``owner``
    is an account's id or name; ``deleted`` False means living ones only, True deleted ones only, None both.
    """

    states: frozenset[State] = frozenset()
    game: str | None = None
    name_contains: str | None = None
    owner: str | None = None
    deleted: bool | None = False


_COLUMNS: dict[str, tuple[ColumnElement[Any], type[Key], Callable[[ServerView, str], Key]]] = {
    "name": (server.c.name, str, lambda view, _: view.server.name),
    "created_at": (server.c.created_at, datetime, lambda view, _: view.server.created_at),
    "state": (STORED_STATE, str, lambda _, stored_state: stored_state),
}

SORTS = tuple(sign + name for name in _COLUMNS for sign in ("", "-"))


def list_servers(
    tx: Transaction,
    *,
    scope: str | None,
    filters: ServerFilters | None = None,
    sort: str = DEFAULT_SORT,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
) -> Page[ServerView]:
    """A page of the servers of the account ``scope`` (None: everybody's), by one statement.

    Raises ``BadInput`` for a ``sort`` that is not in ``SORTS``, and for a bad page size or token.
    """
    if sort not in SORTS:
        raise BadInput(
            f"Cannot sort by {sort!r}; possible: {', '.join(SORTS)}.",
            errors=[{"at": "/sort", "says": f"must be one of {', '.join(SORTS)}"}],
        )
    column, kind, read_key = _COLUMNS[sort.removeprefix("-")]
    order = Order(f"servers {sort}", (column, server.c.id), (kind, str), descending=sort.startswith("-"))
    chosen = _filtered(scope, filters or ServerFilters(), needs_state=column is STORED_STATE)
    # The page is cut before anything else is joined: the plan stays the same for a hundred and a million servers.
    page = order.after(chosen.add_columns(column.label("sort_key")), page_token)
    page = page.limit(rows_of_page(page_size))
    shown = page.subquery("shown")
    outer = (shown.c.sort_key, shown.c.id)
    rows = (
        tx.execute(
            select_views(shown)
            .add_columns(shown.c.sort_key)
            .order_by(*(part.desc() if order.descending else part for part in outer))
        )
        .mappings()
        .all()
    )
    found = [(read_view(row), row["sort_key"]) for row in rows]
    cut = cut_page(found, order, page_size, lambda pair: (read_key(pair[0], str(pair[1])), pair[0].server.id))
    return Page(tuple(view for view, _ in cut.items), cut.next_token)


def _filtered(scope: str | None, filters: ServerFilters, *, needs_state: bool) -> Select[Any]:
    chosen = select(server)
    if needs_state or filters.states:
        chosen = chosen.outerjoin(server_status, server_status.c.server_id == server.c.id)
    if scope is not None:
        chosen = chosen.where(server.c.account_id == scope)
    if filters.states:
        chosen = chosen.where(any_(literal(sorted(filters.states), ARRAY(Text))) == STORED_STATE)
    if filters.game is not None:
        chosen = chosen.where(server.c.game == filters.game)
    if filters.name_contains:
        chosen = chosen.where(server.c.name.icontains(filters.name_contains, autoescape=True))
    if filters.owner is not None:
        owners = select(account.c.id).where(or_(account.c.id == filters.owner, account.c.name == filters.owner))
        chosen = chosen.where(server.c.account_id.in_(owners))
    if filters.deleted is not None:
        # Written out: for a parameter the plan of a prepared statement expects the average of all three values, and
        # then sorts the whole table rather than walk an index.
        is_deleted = server.c.desired == bindparam("deleted", Desired.DELETED.value, literal_execute=True)
        chosen = chosen.where(is_deleted if filters.deleted else ~is_deleted)
    return chosen
