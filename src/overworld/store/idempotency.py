"""Idempotency keys: a repeated request gets the first one's answer and does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select

from overworld.domain.errors import BadInput, Conflict
from overworld.store.database import Transaction
from overworld.store.tables import idempotency


@dataclass(frozen=True, slots=True)
class Saved:
    """An answer to give again."""

    status: int
    headers: Mapping[str, str]
    body: str


def recall(tx: Transaction, account_id: str, route: str, key: str, fingerprint: str) -> Saved | None:
    """The answer that was given to that key, or None: then the caller does the work and calls ``remember`` in this
    transaction, and nobody else with the same key gets here before it ends.

    Raises ``Conflict`` while another transaction is at work on the key, ``BadInput`` if the key came with another
    body. Two statements on purpose: the row must be looked for after the lock is held, by a newer snapshot.
    """
    name = f"{account_id}\n{route}\n{key}"
    if not tx.execute(select(func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0)))).scalar():
        raise Conflict("A request with this idempotency key is still running; repeat it in a moment.")
    row = tx.execute(
        select(idempotency).where(
            idempotency.c.account_id == account_id, idempotency.c.route == route, idempotency.c.key == key
        )
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise BadInput("This idempotency key was used with another body; take a new key for a new request.")
    return Saved(status=row.status, headers=row.headers, body=row.body)


def remember(  # noqa: PLR0917 - in the order of recall
    tx: Transaction, account_id: str, route: str, key: str, fingerprint: str, saved: Saved, now: datetime
) -> None:
    """Keep the answer, in the transaction that did the work."""
    tx.execute(
        insert(idempotency).values(
            account_id=account_id,
            route=route,
            key=key,
            fingerprint=fingerprint,
            status=saved.status,
            headers=dict(saved.headers),
            body=saved.body,
            created_at=now,
        )
    )


def prune(tx: Transaction, before: datetime) -> int:
    """Forget answers given before then; how many."""
    return tx.execute(delete(idempotency).where(idempotency.c.created_at < before)).rowcount
