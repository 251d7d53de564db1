"""A server: what is wanted (spec) and what was seen (status)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from overworld.domain.conditions import Condition
from overworld.domain.exits import Exit
from overworld.domain.games import Game, Protocol, Value
from overworld.domain.worlds import Storage

ServerId = str


class Desired(StrEnum):
    """What the owner wants of the process. ``deleted`` also means stopped, until retention has passed."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class Network(StrEnum):
    """How players come in, where servers run in a cluster."""

    STABLE = "stable"  # an address of the server's own, that never changes
    DIRECT = "direct"  # ports of the node that it runs on: the address follows the node


@dataclass(frozen=True, slots=True)
class RetiredWorld:
    """A generation of the world beside the present one: an earlier one, kept for undo until ``keep_until``, or
    (``is_incoming``) one that a worker makes, which is removed then if it has not become anything."""

    generation: int
    keep_until: datetime
    is_incoming: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """The spec: written by web, read by everybody.

    ``id`` is a DNS label (12 characters, starts with a letter). ``number`` is unique and never used again (the local
    engine derives the user id from it). ``generation`` grows with every change; ``desired_generation`` is the one at
    which ``desired`` or ``restarts`` last changed; ``restarts`` grows with every restart asked for; ``purge_at`` is
    set while desired is ``deleted``. ``storage``, ``disk_mib`` and ``network`` are None where the engine knows no such
    choice (one machine: a folder of its disk, ports of its own). ``files_changed_at`` is when somebody last began to
    change files of the world through Overworld, None for never.
    """

    id: ServerId
    number: int
    account_id: str
    name: str
    game: str
    generation: int
    desired: Desired
    desired_generation: int
    restarts: int
    variables: Mapping[str, Value]
    memory_mib: int
    world_generation: int
    retired_worlds: tuple[RetiredWorld, ...]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    purge_at: datetime | None = None
    storage: Storage | None = None
    disk_mib: int | None = None
    network: Network | None = None
    files_changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one of a server's ports is reached from outside. Leased: it outlives stops, starts and crashes. ``host``
    is empty while it is not known yet; ``dns_name`` leads to the same, where it has one."""

    name: str
    protocol: Protocol
    host: str
    port: int
    dns_name: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a console finds a server in a cluster. ``pod`` None: nowhere, and ``last_exit`` has its last words."""

    pod: str | None
    takes_commands: bool
    runs: bool
    last_exit: Exit | None


@dataclass(frozen=True, slots=True)
class Status:
    """What was seen of a server: written by the controller only. ``observed_generation`` 0 means never looked at.

    ``world_seen`` is the newest generation of its world that was ever seen to exist, 0 if none was. ``place`` is where
    a console finds it, ``node`` the machine of the cluster that it runs on; None where servers are processes here.
    """

    observed_generation: int
    conditions: tuple[Condition, ...]
    endpoints: tuple[Endpoint, ...]
    updated_at: datetime | None = None
    world_seen: int = 0
    place: Place | None = None
    node: str | None = None


NOT_YET_SEEN = Status(observed_generation=0, conditions=(), endpoints=())


def spec_hash(server: Server, game: Game, endpoints: tuple[Endpoint, ...]) -> str:
    """A hash of everything that the running process was started with: equal hashes mean there is nothing to send.

    Neither ``generation`` nor ``desired`` counts: stopping and starting are not a change of what runs.
    """
    content = {
        "game": [game.slug, game.revision],
        "name": server.name,
        "variables": dict(sorted(server.variables.items())),
        "memory_mib": server.memory_mib,
        "world_generation": server.world_generation,
        "ports": [[endpoint.name, endpoint.protocol, endpoint.port] for endpoint in endpoints],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
