"""The lease on a world: one job at a time, by the database's clock, its epoch a fence for what its holder writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.servers import ServerId
from overworld.store.database import Transaction
from overworld.store.lease import LeaseLost
from overworld.store.save_tables import world_lease
from overworld.store.tables import server

_COUNTING = 0x6F775F6C65617365  # "ow_lease": whoever takes a lease while there is a limit


@dataclass(frozen=True, slots=True)
class WorldLease:
    """A lease that was held when it was read."""

    server_id: ServerId
    operation_id: str
    holder: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Busy:
    """The lease cannot be had now. ``by`` is the operation that has it, None if the store has enough to do, or enough
    of this account."""

    by: str | None


def acquire(
    tx: Transaction,
    server_id: ServerId,
    operation_id: str,
    holder: str,
    ttl: timedelta,
    *,
    at_most: int,
    by_holder: int | None = None,
) -> WorldLease | Busy:
    """The lease on that world, if it is free or expired and fewer than ``at_most`` others are held. Of these, and of
    the ``by_holder`` that one holder works on at once (None: it does not say), no account has the last one while others
    have servers: a world can be made to take hours, and its owner may have many.

    The epoch grows with each acquiring, so ``holder`` cannot mistake an earlier lease of its own for this one.
    """
    tx.execute(select(func.pg_advisory_xact_lock(_COUNTING)))
    clock = func.clock_timestamp()
    held = tx.execute(
        select(world_lease.c.server_id, world_lease.c.operation_id, world_lease.c.holder, server.c.account_id)
        .join_from(world_lease, server, world_lease.c.server_id == server.c.id, isouter=True)
        .where(world_lease.c.expires_at > clock)
    ).all()
    for other in held:
        if other.server_id == server_id:
            return Busy(other.operation_id)
    if len(held) >= at_most:
        return Busy(None)
    account_id = tx.execute(select(server.c.account_id).where(server.c.id == server_id)).scalar()
    if account_id is not None:  # else the saves of a server that is gone are removed
        holders = [other.holder for other in held if other.account_id == account_id]
        is_last_here = by_holder is not None and holders.count(holder) >= by_holder - 1
        if holders and (is_last_here or len(holders) >= at_most - 1) and _has_others(tx, account_id):
            return Busy(None)
    offered = insert(world_lease).values(
        server_id=server_id, operation_id=operation_id, holder=holder, epoch=1, expires_at=clock + ttl
    )
    epoch = tx.execute(
        offered.on_conflict_do_update(
            index_elements=[world_lease.c.server_id],
            set_={
                "operation_id": offered.excluded.operation_id,
                "holder": offered.excluded.holder,
                "epoch": world_lease.c.epoch + 1,
                "expires_at": offered.excluded.expires_at,
            },
        ).returning(world_lease.c.epoch)
    ).scalar_one()
    return WorldLease(server_id, operation_id, holder, epoch)


def _has_others(tx: Transaction, account_id: str) -> bool:
    return bool(tx.execute(select(exists().where(server.c.account_id != account_id))).scalar())


def renew(tx: Transaction, lease: WorldLease, ttl: timedelta) -> bool:
    """Hold it for ``ttl`` from now on; False if somebody else took it."""
    statement = update(world_lease).where(*_is(lease)).values(expires_at=func.clock_timestamp() + ttl)
    return tx.execute(statement).rowcount == 1


def release(tx: Transaction, lease: WorldLease) -> None:
    """Let the next job of this world begin at once. Safe to call twice, and after it was lost."""
    tx.execute(update(world_lease).where(*_is(lease)).values(expires_at=func.clock_timestamp()))


def check(tx: Transaction, lease: WorldLease) -> None:
    """Make sure that the lease is held until the transaction ends. Raises ``LeaseLost`` if somebody else took it."""
    found = tx.execute(select(world_lease.c.epoch).where(*_is(lease)).with_for_update(read=True)).scalar()
    if found is None:
        raise LeaseLost(f"Another worker has taken over the world of server {lease.server_id}.")


def release_all_of(tx: Transaction, holder_prefix: str) -> None:
    """Let go of every lease whose holder's name begins so; for somebody who knows that those processes are dead."""
    tx.execute(
        update(world_lease)
        .where(world_lease.c.holder.startswith(holder_prefix, autoescape=True))
        .values(expires_at=func.clock_timestamp())
    )


def held(tx: Transaction) -> list[ServerId]:
    """The servers on whose worlds a job works."""
    is_held = world_lease.c.expires_at > func.clock_timestamp()
    return list(tx.execute(select(world_lease.c.server_id).where(is_held)).scalars())


def forget_expired(tx: Transaction, before: datetime) -> None:
    """Remove the rows of leases that ended before then: their worlds may be gone."""
    tx.execute(delete(world_lease).where(world_lease.c.expires_at < before))


def _is(lease: WorldLease) -> tuple[ColumnElement[bool], ...]:
    return (
        world_lease.c.server_id == lease.server_id,
        world_lease.c.holder == lease.holder,
        world_lease.c.epoch == lease.epoch,
    )
