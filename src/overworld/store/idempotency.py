"""Idempotency keys: a repeated request gets the first one's answer and does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.errors import BadInput, Conflict
from overworld.store.database import Transaction
from overworld.store.tables import idempotency

CLAIM = timedelta(minutes=2)
"""How long work outside of a transaction keeps its key to itself: longer than what has no end of its own takes."""
_CLAIMED = 0
"""In place of a status: the work is under way."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An answer to give again."""

    status: int
    headers: Mapping[str, str]
    body: str


def recall(  # noqa: PLR0917 - in the order of the key's parts
    tx: Transaction, account_id: str, route: str, key: str, fingerprint: str, now: datetime
) -> Saved | None:
    """The answer that was given to that key, or None: then the caller does the work and calls ``remember`` in this
    transaction, and nobody else with the same key gets here before it ends. Or it calls ``claim`` in it, does the work
    afterwards, and then calls ``remember`` or ``give_up``.

    Raises ``Conflict`` while somebody else is at work on the key, ``BadInput`` if the key came with another body.
    Two statements on purpose: the row must be looked for after the lock is held, by a newer snapshot.
    """
    name = f"{account_id}\n{route}\n{key}"
    if not tx.execute(select(func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0)))).scalar():
        raise _still_running()
    row = tx.execute(
        select(idempotency).where(
            idempotency.c.account_id == account_id, idempotency.c.route == route, idempotency.c.key == key
        )
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise BadInput("This idempotency key was used with another body; take a new key for a new request.")
    if row.status == _CLAIMED:
        if row.created_at > now - CLAIM:
            raise _still_running()
        return None  # whoever claimed it died
    return Saved(status=row.status, headers=row.headers, body=row.body)


def remember(  # noqa: PLR0917 - in the order of recall
    tx: Transaction, account_id: str, route: str, key: str, fingerprint: str, saved: Saved, now: datetime
) -> None:
    """Keep the answer, in the transaction that did the work, or after work that was claimed."""
    given = {
        "fingerprint": fingerprint,
        "status": saved.status,
        "headers": dict(saved.headers),
        "body": saved.body,
        "created_at": now,
    }
    offered = insert(idempotency).values(account_id=account_id, route=route, key=key, **given)
    tx.execute(
        offered.on_conflict_do_update(
            index_elements=[idempotency.c.account_id, idempotency.c.route, idempotency.c.key], set_=given
        )
    )


def claim(  # noqa: PLR0917 - in the order of recall
    tx: Transaction, account_id: str, route: str, key: str, fingerprint: str, now: datetime
) -> None:
    """Keep the key for work that is done after this transaction, for CLAIM at most."""
    remember(tx, account_id, route, key, fingerprint, Saved(_CLAIMED, {}, ""), now)


def give_up(tx: Transaction, account_id: str, route: str, key: str) -> None:
    """The work that the key was claimed for failed: it may be repeated."""
    tx.execute(
        delete(idempotency).where(
            idempotency.c.account_id == account_id,
            idempotency.c.route == route,
            idempotency.c.key == key,
            idempotency.c.status == _CLAIMED,
        )
    )


def _still_running() -> Conflict:
    return Conflict("A request with this idempotency key is still running; repeat it in a moment.")


def prune(tx: Transaction, before: datetime) -> int:
    """Forget answers given before then; how many."""
    return tx.execute(delete(idempotency).where(idempotency.c.created_at < before)).rowcount
