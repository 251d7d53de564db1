"""One server as the planner is told of it."""

from __future__ import annotations

from dataclasses import dataclass

from overworld.domain.addresses import AddressLease
from overworld.domain.games import Game
from overworld.domain.observed import Want, WantedAddress
from overworld.domain.servers import Desired, Endpoint, Network, Server, Status, spec_hash


@dataclass(frozen=True, slots=True)
class Subject:
    """What is wanted of one server, and what was last written of it.

    ``endpoints`` are the leased ones, ordered by name; ``game`` is None where the catalogue no longer has it.
    ``network`` is None where servers share the ports of one machine; ``address`` is the lease of an address that a
    cloud makes, None where none does. ``trouble`` is what is to be said of it while its node does not answer: what its
    pod says then is old. ``is_being_saved``: a purge waits for the save that was asked for with the deletion, for a
    while.
    """

    server: Server
    status: Status
    endpoints: tuple[Endpoint, ...]
    game: Game | None
    network: Network | None = None
    address: AddressLease | None = None
    trouble: str | None = None
    is_being_saved: bool = False

    @property
    def wants_running(self) -> bool:
        """Whether the owner wants the game to run."""
        return self.server.desired is Desired.RUNNING

    @property
    def lacks_ports(self) -> bool:
        """Whether a port of the game has no number yet, and should have one that is leased."""
        if self.game is None or self.server.desired is Desired.DELETED or self.network is Network.STABLE:
            return False
        wanted = {(port.name, port.protocol) for port in self.game.ports}
        return not wanted <= {(endpoint.name, endpoint.protocol) for endpoint in self.endpoints}

    @property
    def lacks_address(self) -> bool:
        """Whether the cloud has yet to make the address that is leased to it, and should."""
        is_wanted = self.network is Network.STABLE and self.server.desired is not Desired.DELETED
        return is_wanted and self.address is not None and self.address.resource is None

    @property
    def wanted_address(self) -> WantedAddress | None:
        """What its way in must have; None where it has none of its own, or not yet."""
        if self.network is not Network.STABLE:
            return None
        return WantedAddress() if self.address is None else self.address.wanted

    @property
    def want(self) -> Want:
        """The wish for the engine. Without its game the spec hash is empty: good enough to stop it."""
        return Want(
            server_id=self.server.id,
            number=self.server.number,
            running=self.wants_running,
            restarts=self.server.restarts,
            spec_hash=spec_hash(self.server, self.game, self.endpoints) if self.game is not None else "",
            world_generation=self.server.world_generation,
            memory_mib=self.server.memory_mib,
            endpoints=self.endpoints,
            # Every later generation was made by a restore.
            may_make_world=self.server.world_generation == 1 and self.status.world_seen < 1,
            address=self.wanted_address,
            storage=self.server.storage,
            disk_mib=self.server.disk_mib,
            network=self.network,
        )
