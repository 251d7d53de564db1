"""A number belongs to one server, from its first start to its purge."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from overworld.domain.accounts import Account
from overworld.domain.games import Protocol
from overworld.domain.servers import Server
from overworld.store.database import Database
from overworld.store.ports import PortLease, lease_offered, leased_ports, release_ports


def udp(port: int, name: str = "game") -> PortLease:
    """An offer."""
    return PortLease(name, Protocol.UDP, port)


def tcp(port: int, name: str = "web") -> PortLease:
    """An offer."""
    return PortLease(name, Protocol.TCP, port)


def test_a_number_is_never_shared_between_servers(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """One server may use a number for two protocols; another one gets it for neither."""
    first, second = make_server(account, "one"), make_server(account, "two")
    with database.transaction() as tx:
        assert lease_offered(tx, {first.id: [udp(40000), tcp(40000)]}) == {first.id: (udp(40000), tcp(40000))}
        assert lease_offered(tx, {second.id: [tcp(40000), udp(40001)]}) == {second.id: (udp(40001),)}
        assert leased_ports(tx) == {40000, 40001}


def test_what_is_held_is_kept(database: Database, account: Account, make_server: Callable[..., Server]) -> None:
    """An address never changes: another offer for the same name and protocol changes nothing."""
    server = make_server(account)
    with database.transaction() as tx:
        lease_offered(tx, {server.id: [udp(40000)]})
    with database.transaction() as tx:
        assert lease_offered(tx, {server.id: [udp(40001)]}) == {server.id: (udp(40000),)}
        assert leased_ports(tx) == {40000}


def test_what_is_no_longer_wanted_is_released(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """The game's entry changed: one port is gone, one speaks another protocol, one stays."""
    server = make_server(account)
    with database.transaction() as tx:
        lease_offered(tx, {server.id: [udp(40000), udp(40001, "query"), tcp(40002)]})
        changed = {server.id: [udp(40003), udp(40004, "web")]}
        assert lease_offered(tx, changed) == {server.id: (udp(40000), udp(40004, "web"))}
        assert leased_ports(tx) == {40000, 40004}
        release_ports(tx, server.id)
        release_ports(tx, server.id)
        assert leased_ports(tx) == set()


def test_a_purged_server_gets_nothing(database: Database) -> None:
    """A server that is gone holds no port, and disturbs nobody."""
    with database.transaction() as tx:
        assert lease_offered(tx, {"gone": [udp(40000)]}) == {}
        assert lease_offered(tx, {}) == {}


def test_leases_at_once_never_wait_for_each_other(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """Two batches that hold the same servers in opposite orders, from ten threads, end all alike."""
    offers = {make_server(account, f"s{number}").id: [udp(40000 + number)] for number in range(30)}
    backwards = dict(reversed(offers.items()))

    def take(number: int) -> dict[str, tuple[PortLease, ...]]:
        with database.transaction() as tx:
            return lease_offered(tx, offers if number % 2 else backwards)

    with ThreadPoolExecutor(10) as pool:
        assert all(leases == {key: tuple(its) for key, its in offers.items()} for leases in pool.map(take, range(40)))
