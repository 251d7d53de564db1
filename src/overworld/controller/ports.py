"""Which port a server is offered: free by the database and free by the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from math import gcd

from overworld.domain.games import Port, Protocol
from overworld.domain.servers import ServerId
from overworld.engines.base import Engine


def walk_ports(server_id: ServerId, ports: range) -> Iterator[int]:
    """Every port of the range once, in an order of the server's own: always the same one for the same server, so that
    a repeated search finds the same port, and different ones do not race for the first port of the range."""
    seed = int.from_bytes(hashlib.sha256(server_id.encode()).digest()[:8])
    step = 1 + seed // len(ports) % len(ports)
    while gcd(step, len(ports)) != 1:
        step += 1
    return (ports[(seed + index * step) % len(ports)] for index in range(len(ports)))


async def find_ports(
    engine: Engine, server_id: ServerId, wanted: Sequence[Port], ports: range, taken: set[tuple[Protocol, int]]
) -> tuple[int, ...]:
    """Numbers for the wanted ports, each free for all their protocols; added to ``taken``. Fewer if there are no more.

    One number may then serve two protocols, which is how games use them. Raises what ``Engine.port_is_free`` raises.
    """
    protocols = sorted({port.protocol for port in wanted})
    most = max((sum(port.protocol is protocol for port in wanted) for protocol in protocols), default=0)
    found: list[int] = []
    for number in walk_ports(server_id, ports):
        if len(found) == most:
            break
        if any((protocol, number) in taken for protocol in protocols):
            continue
        if all([await engine.port_is_free(protocol, number) for protocol in protocols]):
            found.append(number)
    taken.update((protocol, number) for protocol in protocols for number in found)
    return tuple(found)
