"""The lease of the active controller: a row with an end, by the database's clock, and an epoch that fences writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.errors import OverworldError
from overworld.store.database import Transaction
from overworld.store.tables import lease

CONTROLLER = "controller"
"""The lease that fences status rows."""


class LeaseLost(OverworldError):
    """Somebody else holds the lease: stop working at once, and never repeat the write."""

    slug: ClassVar[str] = "lease-lost"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "Another controller has taken over"


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was held when it was read. ``expires_at`` is by the database's clock."""

    name: str
    holder: str
    epoch: int
    expires_at: datetime


def acquire(tx: Transaction, name: str, holder: str, ttl: timedelta) -> Lease | None:
    """The lease if it is free, expired or the holder's own; None while somebody else holds it.

    The epoch grows exactly when the holder changes; so ``holder`` must name one start of one process. Waits for
    writes that are fenced by the present epoch to end. One statement.
    """
    clock = func.clock_timestamp()
    offered = insert(lease).values(name=name, holder=holder, epoch=1, expires_at=clock + ttl)
    row = tx.execute(
        offered.on_conflict_do_update(
            index_elements=[lease.c.name],
            set_={
                "holder": offered.excluded.holder,
                "epoch": lease.c.epoch + case((lease.c.holder == offered.excluded.holder, 0), else_=1),
                "expires_at": clock + ttl,
            },
            where=or_(lease.c.holder == offered.excluded.holder, lease.c.expires_at <= clock),
        ).returning(lease.c.epoch, lease.c.expires_at)
    ).one_or_none()
    return None if row is None else Lease(name=name, holder=holder, epoch=row.epoch, expires_at=row.expires_at)


def renew(tx: Transaction, held: Lease, ttl: timedelta) -> bool:
    """Hold the lease for ``ttl`` from now on; False if somebody else took it. Right even after it expired, as long
    as nobody did."""
    statement = (
        update(lease)
        .where(lease.c.name == held.name, lease.c.holder == held.holder, lease.c.epoch == held.epoch)
        .values(expires_at=func.clock_timestamp() + ttl)
    )
    return tx.execute(statement).rowcount == 1


def release(tx: Transaction, held: Lease) -> None:
    """Let the next one acquire at once. Safe to call twice, and after it was lost."""
    tx.execute(
        update(lease)
        .where(lease.c.name == held.name, lease.c.holder == held.holder, lease.c.epoch == held.epoch)
        .values(expires_at=func.clock_timestamp())
    )


def release_all_of(tx: Transaction, holder_prefix: str) -> None:
    """Let go of every lease whose holder's name begins with ``holder_prefix``; for somebody who knows that those
    processes are dead. Safe to call twice."""
    tx.execute(
        update(lease)
        .where(lease.c.holder.startswith(holder_prefix, autoescape=True))
        .values(expires_at=func.clock_timestamp())
    )


def check_epoch(tx: Transaction, name: str, epoch: int) -> None:
    """Make sure that ``epoch`` is the lease's until the transaction ends. Raises ``LeaseLost``.

    Without the row lock: 1. the old controller reads its epoch; 2. the new one acquires and writes; 3. the old one
    writes over it. With it step 2 waits for step 3, or step 1 sees the new epoch.
    """
    present = tx.execute(select(lease.c.epoch).where(lease.c.name == name).with_for_update(read=True)).scalar()
    if present != epoch:
        raise LeaseLost(f"The lease {name!r} is at epoch {present}, not {epoch}: another one has taken over.")
