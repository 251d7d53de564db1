"""The order in which ports are offered."""

from __future__ import annotations

import pytest

from controlling import GAME, Clock, MemoryRows
from overworld.controller.ports import PortFinder, walk_ports
from overworld.domain.games import Port, Protocol
from overworld.engines.memory import MemoryEngine


@pytest.mark.parametrize("ports", [range(30000, 30001), range(30000, 30012), range(1024, 2021)])
def test_every_port_comes_once_in_an_order_of_the_servers_own(ports: range) -> None:
    """The same again for the same server, another first port for most others."""
    walks = {key: list(walk_ports(key, ports)) for key in ("a", "b", "c", "d", "e", "f")}
    assert all(sorted(walk) == list(ports) for walk in walks.values())
    assert list(walk_ports("a", ports)) == walks["a"]
    assert len(ports) == 1 or len({walk[0] for walk in walks.values()}) > 1


async def test_one_number_serves_two_protocols() -> None:
    """Games like to use the same one for both, so it has to be free for both; and two for two of one protocol."""
    engine = MemoryEngine()
    engine.world.taken_ports.add((Protocol.TCP, 30001))
    finder = PortFinder(MemoryRows(Clock()), engine, range(30000, 30004))
    wanted = (Port("game", Protocol.UDP, 1), Port("query", Protocol.UDP, 2), Port("web", Protocol.TCP, 3))
    found = {lease.name: lease for lease in await finder.find("a", wanted)}
    assert len({found["game"].port, found["query"].port} & {30000, 30002, 30003}) == 2
    assert found["web"].port == found["game"].port
    (other,) = await finder.find("b", GAME.ports)
    assert {other.port, found["game"].port, found["query"].port} == {30000, 30002, 30003}
