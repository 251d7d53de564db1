"""Events of servers, for their owners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, select, text

from overworld.domain.events import Event, Level, NewEvent
from overworld.store.codecs import clean_text
from overworld.store.database import Transaction
from overworld.store.pages import DEFAULT_PAGE_SIZE, Order, Page, fetch_page
from overworld.store.tables import event

PRUNE_AT_MOST = 10_000

_NEWEST_FIRST = Order("events", (event.c.id,), (int,), descending=True)

# The join leaves out what belongs to servers that were purged in the meantime, and finds the owner.
_INSERT = text("""
    INSERT INTO event (server_id, account_id, at, level, reason, message)
    SELECT given.server_id, server.account_id, :now, given.level, given.reason, given.message
    FROM ROWS FROM (
        jsonb_to_recordset(CAST(:events AS jsonb)) AS (server_id text, level text, reason text, message text)
    ) WITH ORDINALITY AS given (server_id, level, reason, message, place)
    JOIN server ON server.id = given.server_id
    ORDER BY given.place
""")


def insert_events(tx: Transaction, events: Sequence[NewEvent], now: datetime) -> None:
    """Remember the events in their order, by one statement (none for no events); those of purged servers are left
    out."""
    if not events:
        return
    rows = [
        {
            "server_id": new.server_id,
            "level": new.level,
            "reason": clean_text(new.reason),
            "message": clean_text(new.message),
        }
        for new in events
    ]
    tx.execute(_INSERT, {"events": json.dumps(rows), "now": now})


def list_events(
    tx: Transaction,
    *,
    scope: str | None,
    server_id: str | None = None,
    after_id: int | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
) -> Page[Event]:
    """Events, newest first, of one server or of all that the account ``scope`` owns (None: everybody's).

    ``after_id`` leaves out that one and all before it. Ids are given before commit: a reader that polls by
    ``after_id`` may miss an event whose transaction took longer than that of a later one.
    """
    statement = select(event)
    if scope is not None:
        statement = statement.where(event.c.account_id == scope)
    if server_id is not None:
        statement = statement.where(event.c.server_id == server_id)
    if after_id is not None:
        statement = statement.where(event.c.id > after_id)
    return fetch_page(
        tx,
        statement,
        _NEWEST_FIRST,
        page_size=page_size,
        page_token=page_token,
        read=_read_event,
        key=lambda found: (found.id,),
    )


def prune_events(tx: Transaction, before: datetime) -> int:
    """Remove up to 10,000 events from before then; how many: call again while it is not 0."""
    old = select(event.c.id).where(event.c.at < before).limit(PRUNE_AT_MOST)
    return tx.execute(delete(event).where(event.c.id.in_(old))).rowcount


def _read_event(row: Row[Any]) -> Event:
    return Event(
        id=row.id,
        server_id=row.server_id,
        at=row.at.astimezone(UTC),
        level=Level(row.level),
        reason=row.reason,
        message=row.message,
    )
