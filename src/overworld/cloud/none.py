"""No cloud: any other Kubernetes, whose own balancer (MetalLB, a provider's) gives addresses to Services."""

from __future__ import annotations

from datetime import datetime

from overworld.cloud.base import Address, AddressSeen, Cloud, Folder, MachineState
from overworld.cloud.capacity import Capacity
from overworld.domain.errors import CloudRefused
from overworld.domain.servers import ServerId
from overworld.domain.worlds import NO_SHARES


class NoCloud(Cloud):
    """Leaves addresses to the cluster: there is nothing to make, to release or to count, so nothing can fail.

    An address lasts as long as its Service, which Overworld keeps over stop and start; whether a deleted Service's IP
    comes back is up to the cluster.
    """

    async def ensure_address(self, server_id: ServerId, label: str) -> Address:
        """The Service itself is the address; the label is nobody's."""
        return Address(server_id=server_id, resource=server_id, ip=None, fqdn=None, annotations={})

    async def release_address(self, server_id: ServerId) -> None:
        """Went with the Service."""

    async def addresses(self) -> tuple[AddressSeen, ...]:
        """None that outlives its Service."""
        return ()

    async def mark_orphan(self, server_id: ServerId, since: datetime | None) -> None:
        """There is nothing to mark."""

    async def capacity(self) -> Capacity:
        """Not known here: the cluster refuses by itself."""
        return Capacity(address_quotas=(), balancer_ports=None)

    async def ensure_folder(self, server_id: ServerId, world_generation: int) -> Folder:
        """Refused: worlds belong on disks here."""
        raise CloudRefused(
            "NoShares",
            NO_SHARES,
            retry_after=None,
        )

    async def remove_folder(self, server_id: ServerId, world_generation: int) -> None:
        """There never was one."""

    async def machine_state(self, provider_id: str) -> MachineState:
        """Nobody here can tell: an operator has to."""
        return MachineState.UNKNOWN

    async def power_off(self, provider_id: str) -> None:
        """Refused: an operator has to."""
        raise CloudRefused(
            "NoMachines",
            "This installation cannot switch machines off (its cloud is none): an operator has to.",
            retry_after=None,
        )

    async def close(self) -> None:
        """Nothing is open."""
