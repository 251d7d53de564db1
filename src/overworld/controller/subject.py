"""One server as the planner is told of it."""

from __future__ import annotations

from dataclasses import dataclass

from overworld.domain.games import Game
from overworld.domain.observed import Want
from overworld.domain.servers import Desired, Endpoint, Server, Status, spec_hash


@dataclass(frozen=True, slots=True)
class Subject:
    """What is wanted of one server, and what was last written of it.

    ``endpoints`` are the leased ones, ordered by name; ``game`` is None where the catalogue no longer has it.
    """

    server: Server
    status: Status
    endpoints: tuple[Endpoint, ...]
    game: Game | None

    @property
    def wants_running(self) -> bool:
        """Whether the owner wants the game to run."""
        return self.server.desired is Desired.RUNNING

    @property
    def lacks_ports(self) -> bool:
        """Whether a port of the game has no address yet, and should have one."""
        if self.game is None or self.server.desired is Desired.DELETED:
            return False
        wanted = {(port.name, port.protocol) for port in self.game.ports}
        return not wanted <= {(endpoint.name, endpoint.protocol) for endpoint in self.endpoints}

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
            may_make_world=self.status.world_seen < self.server.world_generation,
        )
