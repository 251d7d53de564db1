"""Promising a new server its public address, or refusing it before it is accepted; and what is promised to all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from overworld.cloud.capacity import AddressQuota, Capacity, check_capacity
from overworld.domain.accounts import Action, Actor, may
from overworld.domain.addresses import AddressLease, derive_label
from overworld.domain.errors import NotFound
from overworld.domain.games import Game
from overworld.domain.offers import Offer
from overworld.domain.servers import Network, Server
from overworld.store.addresses import lease_address, list_leases, lock_count
from overworld.store.cloud_reports import ReportName, read_report
from overworld.store.database import Transaction


def promise_address(tx: Transaction, offer: Offer, server: Server, game: Game, now: datetime) -> None:
    """A new server has the lease of an address, if it is to have one of its own and this installation makes them.

    Raises CapacityExhausted with what the operator has to raise. The figures of the cloud are those that the
    controller heard last, at most a minute old; what was leased since then is added to them.
    """
    if not offer.leases_addresses or server.network is not Network.STABLE:
        return
    quotas, made = _read_capacity(tx)
    leased = lock_count(tx, counted=made)
    check_capacity(Capacity(quotas, offer.balancer_ports), leased, ports_needed=len(game.ports))
    label = derive_label(server.name, server.id)
    lease_address(tx, AddressLease(server.id, label, ports=len(game.ports), leased_at=now))


@dataclass(frozen=True, slots=True)
class AddressReport:
    """All leases by server id, what the cloud said last of its quotas with what was leased since, and what the last
    sweep found odd (each with ``oddity``, ``server_id`` and ``says``)."""

    leases: tuple[AddressLease, ...]
    quotas: tuple[AddressQuota, ...]
    findings: tuple[Mapping[str, str], ...]


def report_addresses(tx: Transaction, actor: Actor) -> AddressReport:
    """Every address of this installation, for who runs it. Raises NotFound for everybody else."""
    if not may(actor, Action.SEE_ADDRESSES):
        raise NotFound("There is no such thing.")
    sweep = read_report(tx, ReportName.SWEEP)
    leases = tuple(list_leases(tx))
    quotas, made = _read_capacity(tx)
    to_come = max(0, len(leases) - made)
    return AddressReport(
        leases=leases,
        quotas=tuple(replace(quota, used=quota.used + to_come) for quota in quotas),
        findings=() if sweep is None else tuple(sweep.content["findings"]),
    )


def _read_capacity(tx: Transaction) -> tuple[tuple[AddressQuota, ...], int]:
    """The quotas as the controller heard them last, and how many leased addresses they count; nothing before that."""
    report = read_report(tx, ReportName.CAPACITY)
    if report is None:
        return (), 0
    quotas = tuple(AddressQuota(**quota) for quota in report.content["address_quotas"])
    return quotas, int(report.content["addresses_made"])
