"""Port leases: a number belongs to one server until the server is purged, whatever runs.

Leased for many servers at once: 1,000 servers that start together cost a few statements, not a few thousand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import any_, delete, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from overworld.domain.games import Protocol
from overworld.domain.servers import ServerId
from overworld.store.codecs import Values
from overworld.store.database import Transaction
from overworld.store.tables import port_lease

_RELEASE = text("""
    DELETE FROM port_lease
    USING jsonb_to_recordset(CAST(:wanted AS jsonb)) AS given (server_id text, names jsonb)
    WHERE port_lease.server_id = given.server_id
        AND given.names -> port_lease.name IS DISTINCT FROM to_jsonb(port_lease.protocol)
""")

# In the order of ports, so that two such statements never wait for each other; FOR KEY SHARE, so that a server that
# is being purged is waited for and then left out. A number that another server holds for any protocol is passed over:
# games bind the other protocol of their number without saying so (OpenTTD). Only the controller that holds the lease
# offers ports, so nobody leases between the look and the insert.
_LEASE = text("""
    INSERT INTO port_lease (protocol, port, server_id, name)
    SELECT given.protocol, given.port, server.id, given.name
    FROM jsonb_to_recordset(CAST(:offers AS jsonb)) AS given (protocol text, port integer, server_id text, name text)
    JOIN server ON server.id = given.server_id
    WHERE NOT EXISTS (
        SELECT 1 FROM port_lease AS held WHERE held.port = given.port AND held.server_id <> given.server_id
    )
    ORDER BY given.protocol, given.port
    FOR KEY SHARE OF server
    ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class PortLease:
    """A port that a server holds under the name that its game gives it."""

    name: str
    protocol: Protocol
    port: int


def lease_offered(
    tx: Transaction, offers: Mapping[ServerId, Sequence[PortLease]]
) -> dict[ServerId, tuple[PortLease, ...]]:
    """The ports that each server holds afterwards, by name: those it held already under an offered name and protocol,
    else the offered ones, as far as nobody else holds them. Others that it held are released.

    Three statements whatever the number. A purged server is left out. Safe to call twice.
    """
    if not offers:
        return {}
    wanted = [
        {"server_id": server_id, "names": {offer.name: offer.protocol for offer in its}}
        for server_id, its in offers.items()
    ]
    tx.execute(_RELEASE, {"wanted": json.dumps(wanted)})
    rows = [
        {"server_id": server_id, "name": offer.name, "protocol": offer.protocol, "port": offer.port}
        for server_id, its in offers.items()
        for offer in its
    ]
    tx.execute(_LEASE, {"offers": json.dumps(rows)})
    held: dict[ServerId, list[PortLease]] = {}
    statement = select(port_lease).where(port_lease.c.server_id == any_(literal(list(offers), ARRAY(Text))))
    for row in tx.execute(statement.order_by(port_lease.c.server_id, port_lease.c.name)).mappings():
        held.setdefault(row["server_id"], []).append(read_lease(row))
    return {server_id: tuple(leases) for server_id, leases in held.items()}


def release_ports(tx: Transaction, server_id: str) -> None:
    """Give back all ports of a server. Safe to call twice."""
    tx.execute(delete(port_lease).where(port_lease.c.server_id == server_id))


def leased_ports(tx: Transaction) -> set[int]:
    """Every number that some server holds."""
    return set(tx.execute(select(port_lease.c.port)).scalars())


def read_lease(row: Values) -> PortLease:
    """The lease of a row of its table."""
    return PortLease(row["name"], Protocol(row["protocol"]), row["port"])
