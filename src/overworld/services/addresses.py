"""Promising a new server its public address, or refusing it before it is accepted."""

from __future__ import annotations

from datetime import datetime

from overworld.cloud.capacity import AddressQuota, Capacity, check_capacity
from overworld.domain.addresses import AddressLease, derive_label
from overworld.domain.games import Game
from overworld.domain.offers import Offer
from overworld.domain.servers import Network, Server
from overworld.store.addresses import lease_address, lock_count
from overworld.store.cloud_reports import ReportName, read_report
from overworld.store.database import Transaction


def promise_address(tx: Transaction, offer: Offer, server: Server, game: Game, now: datetime) -> None:
    """A new server has the lease of an address, if it is to have one of its own and this installation makes them.

    Raises CapacityExhausted with what the operator has to raise. The figures of the cloud are those that the
    controller heard last, at most a minute old; what was leased since then is added to them.
    """
    if not offer.leases_addresses or server.network is not Network.STABLE:
        return
    report = read_report(tx, ReportName.CAPACITY)
    quotas: tuple[AddressQuota, ...] = ()
    made = 0
    if report is not None:  # else nothing is known yet but the balancer's own limit
        quotas = tuple(AddressQuota(**quota) for quota in report.content["address_quotas"])
        made = report.content["addresses_made"]
    leased = lock_count(tx, counted=made)
    check_capacity(Capacity(quotas, offer.balancer_ports), leased, ports_needed=len(game.ports))
    label = derive_label(server.name, server.id)
    lease_address(tx, AddressLease(server.id, label, ports=len(game.ports), leased_at=now))
