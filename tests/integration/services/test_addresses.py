"""Addresses are promised with the server, counted before that, and refused with what to raise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from controlling import GAME, Shelf
from overworld.domain.accounts import Actor, Quota, Role
from overworld.domain.addresses import AddressLease
from overworld.domain.errors import CapacityExhausted, NotFound
from overworld.domain.offers import Offer
from overworld.domain.servers import Network
from overworld.services.addresses import report_addresses
from overworld.services.servers import create
from overworld.store import accounts as account_rows
from overworld.store.addresses import list_leases, write_address
from overworld.store.cloud_reports import ReportName, write_report
from overworld.store.database import Database
from overworld.store.lease import CONTROLLER, acquire

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
AZURE = Offer(network=Network.STABLE, leases_addresses=True, balancer_ports=3)


@pytest.fixture
def anna(database: Database) -> Actor:
    """An admin with room for many servers."""
    with database.transaction() as tx:
        account = account_rows.create_account(tx, name="anna", role=Role.ADMIN, quota=Quota(100, 2**20), now=NOW)
    return Actor(account.id, account.name, account.role)


def make(database: Database, actor: Actor, name: str, offer: Offer = AZURE) -> str:
    """A new server's id."""
    with database.transaction() as tx:
        view, _ = create(
            tx,
            actor,
            Shelf(GAME),
            name=name,
            game=GAME.slug,
            variables={},
            memory_mib=None,
            start=True,
            offer=offer,
            now=NOW,
        )
    return view.server.id


def leases(database: Database) -> dict[str, AddressLease]:
    """All of them, by server."""
    with database.transaction() as tx:
        return {lease.server_id: lease for lease in list_leases(tx)}


def hear(database: Database, *, used: int, limit: int, made: int) -> int:
    """The controller has heard of the cloud's figures; its epoch."""
    quota = {"place": "eastus", "used": used, "limit": limit, "remedy": "Raise the quota."}
    with database.transaction() as tx:
        lease = acquire(tx, CONTROLLER, "test", timedelta(minutes=1))
        assert lease is not None
        write_report(tx, lease.epoch, ReportName.CAPACITY, {"address_quotas": [quota], "addresses_made": made}, NOW)
    return lease.epoch


def used(database: Database, actor: Actor) -> int:
    """How many of the region's addresses are said to be taken."""
    with database.transaction() as tx:
        (quota,) = report_addresses(tx, actor).quotas
    return quota.used


def test_a_server_is_accepted_with_its_address(database: Database, anna: Actor) -> None:
    """Its label says its name; on one machine there is no such thing."""
    server_id = make(database, anna, "My World")
    lease = leases(database)[server_id]
    assert (lease.label, lease.ports, lease.ip) == (f"my-world-{server_id}", 1, None)
    assert make(database, anna, "here", Offer()) not in leases(database)


def test_the_last_port_is_given_once(database: Database, anna: Actor) -> None:
    """Ten creations at once on a balancer with room for three: three servers, and seven told why."""

    refusals: list[str] = []

    def attempt(number: int) -> str | None:
        try:
            return make(database, anna, f"world {number}")
        except CapacityExhausted as error:
            refusals.append(error.detail)
            return None

    with ThreadPoolExecutor(10) as pool:
        made = [server_id for server_id in pool.map(attempt, range(10)) if server_id is not None]
    assert len(made) == 3
    assert all("takes 3 ports" in detail for detail in refusals)
    assert set(leases(database)) == set(made)


def test_the_quota_counts_what_is_promised(database: Database, anna: Actor) -> None:
    """What the cloud counts already counts once; what was leased since then is added, also where it is shown."""
    roomy = Offer(network=Network.STABLE, leases_addresses=True, balancer_ports=300)
    first = make(database, anna, "first", roomy)
    epoch = hear(database, used=9, limit=10, made=0)
    with pytest.raises(CapacityExhausted, match="Raise the quota"):
        make(database, anna, "second", roomy)
    assert used(database, anna) == 10
    with database.transaction() as tx:
        made = leases(database)[first]
        write_address(
            tx,
            epoch,
            AddressLease(
                **{**{n: getattr(made, n) for n in ("server_id", "label", "ports", "leased_at")}, "resource": "ip"}
            ),
        )
    hear(database, used=9, limit=10, made=1)
    assert used(database, anna) == 9
    make(database, anna, "second", roomy)
    assert used(database, anna) == 10


def test_only_who_runs_the_installation_sees_all_addresses(database: Database, anna: Actor) -> None:
    """Others learn nothing, not even that there is such a page."""
    make(database, anna, "one")
    with database.transaction() as tx:
        assert len(report_addresses(tx, anna).leases) == 1
        with pytest.raises(NotFound):
            report_addresses(tx, Actor("ben", "ben", Role.USER))
