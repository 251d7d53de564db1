"""Which port a server is offered: free by the database and free by the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from math import gcd

from overworld.controller.rows import Rows
from overworld.domain.games import Port, Protocol
from overworld.domain.servers import ServerId
from overworld.engines.base import Engine
from overworld.store.ports import PortLease


def walk_ports(server_id: ServerId, ports: range) -> Iterator[int]:
    """Every port of the range once, in an order of the server's own: always the same one for the same server, so that
    a repeated search finds the same port, and different ones do not race for the first port of the range."""
    seed = int.from_bytes(hashlib.sha256(server_id.encode()).digest()[:8])
    step = 1 + seed // len(ports) % len(ports)
    while gcd(step, len(ports)) != 1:
        step += 1
    return (ports[(seed + index * step) % len(ports)] for index in range(len(ports)))


class PortFinder:
    """Offers ports to servers. Remembers which are leased, because only the one active controller leases any; what
    was released since it last read them counts as leased until there is nothing else left."""

    def __init__(self, rows: Rows, engine: Engine, ports: range) -> None:
        self._rows = rows
        self._engine = engine
        self._ports = ports
        self._taken: set[int] | None = None

    async def find(self, server_id: ServerId, wanted: Sequence[Port]) -> tuple[PortLease, ...]:
        """A free port for each of the wanted ones; none if there are not enough.

        Each number is free for both protocols: games like to use one for two, and some bind the other one without
        saying so (OpenTTD). Raises ``Unavailable`` and what ``Engine.port_is_free`` raises.
        """
        if self._taken is not None and (found := await self._search(server_id, wanted, self._taken)):
            return found
        self._taken = await self._rows.leased_ports()
        return await self._search(server_id, wanted, self._taken)

    def forget(self) -> None:
        """Somebody else leased ports too: read them again."""
        self._taken = None

    async def _search(self, server_id: ServerId, wanted: Sequence[Port], taken: set[int]) -> tuple[PortLease, ...]:
        protocols = sorted({port.protocol for port in wanted})
        left = {protocol: [port for port in wanted if port.protocol is protocol] for protocol in protocols}
        found: list[PortLease] = []
        for number in walk_ports(server_id, self._ports):
            if len(found) == len(wanted):
                break
            if number in taken:
                continue
            if all([await self._engine.port_is_free(protocol, number) for protocol in Protocol]):
                found += [PortLease(its.pop(0).name, protocol, number) for protocol, its in left.items() if its]
        if len(found) < len(wanted):
            return ()
        taken.update(lease.port for lease in found)
        return tuple(found)
