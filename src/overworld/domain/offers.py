"""What an installation can give a new server besides its game."""

from __future__ import annotations

from dataclasses import dataclass

from overworld.domain.servers import Network


@dataclass(frozen=True, slots=True)
class Offer:
    """``network`` is what a server gets that does not ask, None where servers are processes of one machine and there is
    no choice. ``leases_addresses``: public addresses are made in a cloud, and counted; ``balancer_ports`` is how many
    ports all of them together may have. ``disk_mib`` is the size of a world's disk where nobody asks for one, None
    where worlds have no disks of their own; ``has_shares``: a world can lie in a file share instead.
    """

    network: Network | None = None
    leases_addresses: bool = False
    balancer_ports: int | None = None
    disk_mib: int | None = None
    has_shares: bool = False
