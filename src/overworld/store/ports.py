"""Port leases: a port belongs to one server until the server is purged, whatever runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import any_, delete, func, insert, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Integer

from overworld.domain.errors import Conflict, NotFound
from overworld.domain.games import Port, Protocol
from overworld.store.codecs import Values
from overworld.store.database import Transaction
from overworld.store.tables import port_lease, server

_LEASING = 0x6F775F706F727473  # the advisory lock under which ports are handed out: "ow_ports"


class NoPortFree(Conflict):
    """All candidates are leased to other servers."""


@dataclass(frozen=True, slots=True)
class PortLease:
    """A port that a server holds under the name that its game gives it."""

    name: str
    protocol: Protocol
    port: int


def lease_ports(
    tx: Transaction, server_id: str, wanted: Sequence[Port], candidates: Iterable[int]
) -> tuple[PortLease, ...]:
    """A port for each of ``wanted``, in that order: those already held, else the first free one of ``candidates``.

    Held ports that are not wanted (any more) are released. One statement when all are held already. Two servers
    never get the same port and protocol, however many ask at once. ``candidates`` are best few: all of them are sent
    to PostgreSQL. Raises ``NoPortFree`` if they are too few, ``NotFound`` if the server was purged.
    """
    held = _held(tx, server_id)
    if {(port.name, port.protocol) for port in wanted} != {(found.name, found.protocol) for found in held.values()}:
        # One at a time from here to the end of the transaction. Without that two transactions that take several
        # ports each could wait for each other's, and a port taken twice would cost a failed transaction.
        tx.execute(select(func.pg_advisory_xact_lock(_LEASING)))
        held = _settle(tx, server_id, _held(tx, server_id), wanted, list(candidates))
    return tuple(held[port.name] for port in wanted)


def leases_of(tx: Transaction, server_id: str) -> tuple[PortLease, ...]:
    """The ports that a server holds, by name."""
    statement = select(port_lease).where(port_lease.c.server_id == server_id).order_by(port_lease.c.name)
    return tuple(read_lease(row) for row in tx.execute(statement).mappings())


def release_ports(tx: Transaction, server_id: str) -> None:
    """Give back all ports of a server. Safe to call twice."""
    tx.execute(delete(port_lease).where(port_lease.c.server_id == server_id))


def leased_ports(tx: Transaction) -> set[tuple[Protocol, int]]:
    """Every leased port."""
    rows = tx.execute(select(port_lease.c.protocol, port_lease.c.port))
    return {(Protocol(row.protocol), row.port) for row in rows}


def read_lease(row: Values) -> PortLease:
    """The lease of a row of its table."""
    return PortLease(row["name"], Protocol(row["protocol"]), row["port"])


def _held(tx: Transaction, server_id: str) -> dict[str, PortLease]:
    return {found.name: found for found in leases_of(tx, server_id)}


def _settle(
    tx: Transaction, server_id: str, held: dict[str, PortLease], wanted: Sequence[Port], candidates: Sequence[int]
) -> dict[str, PortLease]:
    """Release what is not wanted, lease what is missing."""
    row_lock = select(server.c.id).where(server.c.id == server_id).with_for_update(read=True, key_share=True)
    if tx.execute(row_lock).first() is None:
        raise NotFound("The server was removed in the meantime.")
    kept = {
        port.name: held[port.name] for port in wanted if port.name in held and held[port.name].protocol is port.protocol
    }
    if len(kept) < len(held):
        tx.execute(delete(port_lease).where(port_lease.c.server_id == server_id, port_lease.c.name.not_in(list(kept))))
    new = _choose(tx, [port for port in wanted if port.name not in kept], candidates)
    if new:
        rows = [
            {"protocol": found.protocol, "port": found.port, "server_id": server_id, "name": found.name}
            for found in new.values()
        ]
        tx.execute(insert(port_lease).values(rows))
    return kept | new


def _choose(tx: Transaction, missing: Sequence[Port], candidates: Sequence[int]) -> dict[str, PortLease]:
    """The first candidate that nobody holds, for each missing port."""
    if not missing:
        return {}
    rows = tx.execute(
        select(port_lease.c.protocol, port_lease.c.port).where(
            port_lease.c.port == any_(literal(candidates, ARRAY(Integer)))
        )
    )
    taken = {(row.protocol, row.port) for row in rows}
    new = {}
    for port in missing:
        number = next((candidate for candidate in candidates if (port.protocol, candidate) not in taken), None)
        if number is None:
            raise NoPortFree(
                f"No {port.protocol.upper()} port is free for {port.name!r}: all {len(candidates)} that were tried "
                "are leased to other servers. Widen the port range, or delete servers."
            )
        taken.add((port.protocol, number))
        new[port.name] = PortLease(port.name, port.protocol, number)
    return new
