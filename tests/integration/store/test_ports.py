"""A port belongs to one server until it is purged."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import StatementCounter
from overworld.domain.accounts import Account
from overworld.domain.errors import NotFound
from overworld.domain.games import Port, Protocol
from overworld.domain.servers import Server
from overworld.store.database import Database
from overworld.store.ports import NoPortFree, PortLease, lease_ports, leased_ports, leases_of, release_ports

GAME = Port("game", Protocol.UDP, 30000)
QUERY = Port("query", Protocol.UDP, 30001)
WEB = Port("web", Protocol.TCP, 80)


def test_ports_are_leased_in_the_order_of_wishes_and_candidates(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """The same number may serve two protocols; a taken one is passed over."""
    first, second = make_server(account, "one"), make_server(account, "two")
    with database.transaction() as tx:
        assert lease_ports(tx, first.id, [QUERY, GAME, WEB], iter([40002, 40001, 40000])) == (
            PortLease("query", Protocol.UDP, 40002),
            PortLease("game", Protocol.UDP, 40001),
            PortLease("web", Protocol.TCP, 40002),
        )
        assert lease_ports(tx, second.id, [GAME], [40002, 40001, 40000]) == (PortLease("game", Protocol.UDP, 40000),)
        assert leased_ports(tx) == {
            (Protocol.UDP, 40002),
            (Protocol.UDP, 40001),
            (Protocol.TCP, 40002),
            (Protocol.UDP, 40000),
        }


def test_what_is_held_is_kept_by_one_statement(
    database: Database, account: Account, make_server: Callable[..., Server], statement_counter: StatementCounter
) -> None:
    """Asking again changes nothing and needs no candidates."""
    server = make_server(account)
    with database.transaction() as tx:
        first = lease_ports(tx, server.id, [GAME, WEB], range(40000, 40010))
    with statement_counter(database) as statements, database.transaction() as tx:
        assert lease_ports(tx, server.id, [GAME, WEB], []) == first
    assert len(statements) == 1


def test_what_is_no_longer_wanted_is_released(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """The game's entry changed: one port is gone, one speaks another protocol, one stays."""
    server = make_server(account)
    with database.transaction() as tx:
        game, _, _ = lease_ports(tx, server.id, [GAME, QUERY, WEB], range(40000, 40010))
        changed = Port("web", Protocol.UDP, 80)
        assert lease_ports(tx, server.id, [GAME, changed], [40005]) == (game, PortLease("web", Protocol.UDP, 40005))
        assert leases_of(tx, server.id) == (game, PortLease("web", Protocol.UDP, 40005))
        release_ports(tx, server.id)
        release_ports(tx, server.id)
        assert leased_ports(tx) == set()


def test_too_few_candidates_say_so_and_lease_nothing(
    database: Database, account: Account, make_server: Callable[..., Server]
) -> None:
    """All of a server's ports or none."""
    server = make_server(account)
    with pytest.raises(NoPortFree, match="UDP port is free for 'query'"), database.transaction() as tx:
        lease_ports(tx, server.id, [GAME, QUERY], [40000])
    with database.transaction() as tx:
        assert leased_ports(tx) == set()
        with pytest.raises(NotFound):
            lease_ports(tx, "gone", [GAME], [40000])


def test_leases_at_once_never_collide(database: Database, account: Account, make_server: Callable[..., Server]) -> None:
    """Thirty servers want two ports each of the same sixty, in opposite orders, and each server twice."""
    made = [make_server(account, f"s{number}") for number in range(30)]
    candidates = list(range(40000, 40060))

    def take(number: int) -> tuple[PortLease, ...]:
        ordered = candidates if number % 2 else candidates[::-1]
        with database.transaction() as tx:
            return lease_ports(tx, made[number % 30].id, [GAME, QUERY], ordered)

    with ThreadPoolExecutor(10) as pool:
        taken = list(pool.map(take, range(60)))
    assert taken[:30] == taken[30:]
    assert {lease.port for leases in taken for lease in leases} == set(candidates)
