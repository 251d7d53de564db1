"""How many addresses there can be, and the sentence for when there are no more. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from overworld.domain.addresses import Leased
from overworld.domain.errors import CapacityExhausted


@dataclass(frozen=True, slots=True)
class AddressQuota:
    """One limit on public addresses, as the cloud counts it: ``used`` of ``limit``, by anybody in that place.
    ``remedy`` is the sentence for the operator who wants more."""

    place: str
    used: int
    limit: int
    remedy: str

    @property
    def room(self) -> int:
        """How many more there can be, 0 or more."""
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The limits that every server with an address of its own shares with all others.

    ``address_quotas`` is empty where nobody counts addresses; ``balancer_ports`` is how many (address, port, protocol)
    triples the cluster's load balancer takes, None without such a limit.
    """

    address_quotas: tuple[AddressQuota, ...]
    balancer_ports: int | None


def check_capacity(capacity: Capacity, leased: Leased, ports_needed: int) -> None:
    """One more server with ``ports_needed`` (1 or more) ports on an address of its own fits; returns None.

    Raises ``CapacityExhausted`` with the limit, the figures and what to raise. The caller holds a lock on the leases
    (two creations at once must not both see the last place) and commits the new lease with it.
    """
    if capacity.balancer_ports is not None and leased.ports + ports_needed > capacity.balancer_ports:
        left = max(0, capacity.balancer_ports - leased.ports)
        raise CapacityExhausted(
            f"The cluster's load balancer takes {capacity.balancer_ports} ports, {leased.ports} are leased and this "
            f"server needs {ports_needed}: {left} left. The limit of a cluster cannot be raised: delete servers for "
            "good, choose the network mode direct for some, or give them another cluster.",
            limit=capacity.balancer_ports,
            used=leased.ports,
            needed=ports_needed,
        )
    for quota in capacity.address_quotas:
        if quota.room < leased.addresses_to_come + 1:
            promised = f" and {leased.addresses_to_come} more are promised" if leased.addresses_to_come else ""
            raise CapacityExhausted(
                f"No public address is left: {quota.used} of {quota.limit} in {quota.place} are used{promised}. "
                f"{quota.remedy}",
                limit=quota.limit,
                used=quota.used + leased.addresses_to_come,
                needed=1,
            )
