"""Address leases: web promises one in the transaction that makes a server, the controller writes what came of it."""

from __future__ import annotations

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.addresses import AddressLease, Leased
from overworld.domain.servers import ServerId
from overworld.store.codecs import read_address
from overworld.store.database import Transaction
from overworld.store.lease import CONTROLLER, check_epoch
from overworld.store.tables import address

_COUNTING = 0x6F775F6164647265  # the advisory lock of whoever counts leases to add one: "ow_addre"


def lock_count(tx: Transaction, counted: int) -> Leased:
    """What is leased now, of which the cloud's own figures know ``counted`` addresses already; nobody else adds a lease
    until the transaction ends, so that two creations at once do not both take the last place."""
    tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _COUNTING})
    ports, addresses = tx.execute(select(func.coalesce(func.sum(address.c.ports), 0), func.count())).one()
    return Leased(int(ports), max(0, int(addresses) - counted))


def count_made(tx: Transaction) -> int:
    """How many leased addresses the cloud has made."""
    return int(tx.execute(select(func.count()).where(address.c.resource.is_not(None))).scalar_one())


def lease_address(tx: Transaction, lease: AddressLease) -> None:
    """The server has a lease: the one that it had, else this one. Safe to call twice."""
    row = {"server_id": lease.server_id, "label": lease.label, "ports": lease.ports, "leased_at": lease.leased_at}
    tx.execute(insert(address).values(**row, annotations={}, attempt=0).on_conflict_do_nothing())


def write_address(tx: Transaction, epoch: int, lease: AddressLease) -> None:
    """Store what the cloud made of a lease. Raises ``LeaseLost`` unless ``epoch`` is that of the controller's lease. A
    lease that has ended in the meantime is left out. Safe to call twice."""
    check_epoch(tx, CONTROLLER, epoch)
    tx.execute(
        update(address)
        .where(address.c.server_id == lease.server_id)
        .values(
            resource=lease.resource,
            ip=lease.ip,
            fqdn=lease.fqdn,
            annotations=dict(lease.annotations),
            attempt=lease.attempt,
            checked_at=lease.checked_at,
        )
    )


def list_leases(tx: Transaction) -> list[AddressLease]:
    """Every lease, by server id."""
    rows = tx.execute(select(address).order_by(address.c.server_id)).mappings()
    return [read_address(row) for row in rows]


def release_lease(tx: Transaction, server_id: ServerId) -> None:
    """The lease has ended. The caller has released the address itself. Safe to call twice."""
    tx.execute(delete(address).where(address.c.server_id == server_id))
