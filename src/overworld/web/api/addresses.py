"""The public addresses of an installation, for admins; to others there is no such page."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from overworld.services import addresses as service
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import Shown

routes = Routes("addresses", "Public addresses that are leased to servers (admins only).")


class AddressEntry(Shown):
    """One server's address; null what the cloud has not made yet."""

    server_id: str
    label: str = Field(description="Its DNS label.")
    ip: str | None
    dns_name: str | None
    ports: int = Field(description="Ports of the load balancer that it takes.")
    leased_at: datetime
    checked_at: datetime | None = Field(description="When the cloud was last asked for it.")


class AddressQuotaEntry(Shown):
    """One limit on public addresses, as the cloud counts it."""

    place: str
    used: int
    limit: int
    remedy: str = Field(description="How to get more.")


class AddressFinding(Shown):
    """What the last comparison of leases and cloud found odd."""

    oddity: str = Field(description="orphaned, stray, missing or changed")
    server_id: str
    says: str


class AddressList(Shown):
    """All addresses, by server id, with the room that is left for more."""

    items: list[AddressEntry]
    next_page_token: None = Field(default=None, description="Always null: they are one page.")
    balancer_ports_used: int
    balancer_ports: int | None = Field(description="How many there can be; null: nobody counts.")
    quotas: list[AddressQuotaEntry]
    findings: list[AddressFinding]


@routes.route("GET", "/addresses", Answer(200, "All addresses, by server id.", AddressList), problems=(404,))
def list_all(call: Call) -> Reply:
    """List the public addresses that are leased to servers (admins only)."""
    report = service.report_addresses(call.tx, call.actor)
    return Reply(
        200,
        AddressList(
            items=[
                AddressEntry(
                    server_id=lease.server_id,
                    label=lease.label,
                    ip=lease.ip,
                    dns_name=lease.fqdn,
                    ports=lease.ports,
                    leased_at=lease.leased_at,
                    checked_at=lease.checked_at,
                )
                for lease in report.leases
            ],
            balancer_ports_used=sum(lease.ports for lease in report.leases),
            balancer_ports=call.installation.settings.offer.balancer_ports,
            quotas=[
                AddressQuotaEntry(place=quota.place, used=quota.used, limit=quota.limit, remedy=quota.remedy)
                for quota in report.quotas
            ],
            findings=[AddressFinding(**finding) for finding in report.findings],
        ),
    )
