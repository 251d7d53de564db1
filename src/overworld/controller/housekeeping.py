"""Forgetting what is too old to matter, so that the database does not grow with the years."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from overworld.domain.errors import Unavailable
from overworld.store import idempotency
from overworld.store.database import Database, Transaction
from overworld.store.events import prune_events
from overworld.store.operations import prune_operations

KEEP_EVENTS = timedelta(days=90)
KEEP_OPERATIONS = timedelta(days=90)
KEEP_ANSWERS = timedelta(hours=24)  # of requests with an Idempotency-Key
CLEAN_EVERY = timedelta(hours=1)

_RULES: tuple[tuple[Callable[[Transaction, datetime], int], timedelta], ...] = (
    (prune_events, KEEP_EVENTS),
    (prune_operations, KEEP_OPERATIONS),
    (idempotency.prune, KEEP_ANSWERS),
)

log = structlog.get_logger(__name__)


async def keep_house(database: Database) -> None:
    """Forget old events, ended operations and remembered answers once an hour, until cancelled. First at once."""
    while True:
        try:
            await asyncio.to_thread(clean, database, datetime.now(UTC))
        except Unavailable as error:
            log.warning("old rows cannot be removed yet", error=error.detail)
        await asyncio.sleep(CLEAN_EVERY.total_seconds())


def clean(database: Database, now: datetime) -> None:
    """Remove every row that is too old at ``now``, in transactions short enough to disturb nobody. Safe to repeat."""
    for prune, keep in _RULES:
        while True:
            with database.transaction() as tx:
                if prune(tx, now - keep) == 0:
                    break
