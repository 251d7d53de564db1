"""What an engine is asked for (Want, Launch, Removal) and what it has seen (Observed): the words of the engine port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from overworld.domain.exits import Exit
from overworld.domain.games import Ready, Roster, Stop
from overworld.domain.servers import Endpoint, Network, Place, ServerId
from overworld.domain.worlds import DiskSeen, Storage, WantedFolder


@dataclass(frozen=True, slots=True)
class Layout:
    """Absolute folders as the game itself sees them. The game may write ``world`` and only read ``config``."""

    world: str
    config: str


@dataclass(frozen=True, slots=True)
class Launch:
    """A game rendered for one server: what to execute and what to watch for. Nothing in it is a template any more.

    ``files`` maps a plain file name inside the configuration folder to its content. ``log_file`` is absolute.
    ``requires`` are absolute paths without which the game cannot start; ``install`` says how to get them too.
    ``image`` is the name, without registry and tag, of the image that carries the game where servers run in
    containers.
    """

    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[str, str]
    stop: Stop
    ready: Ready
    roster: Roster | None
    accepts_commands: bool
    log_file: str | None
    install: str
    requires: tuple[str, ...] = ()
    image: str = ""


@dataclass(frozen=True, slots=True)
class WantedAddress:
    """The address of its own that a server's way in must have. ``ip`` None: the cluster's own balancer chooses one.
    ``annotations`` are for the Service, all of them always: taking one away later means something to the cloud."""

    ip: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Want:
    """What the planner wants of one server's objects. Equal wants are equal worlds: applying twice changes nothing.

    ``restarts`` is a token: a process started under another value is stopped gracefully and started anew.
    ``may_make_world`` is False once the world was seen: if it is gone then, an unmounted disk is likelier than a wish
    to begin anew. ``address`` None: no way in of its own, or its address is not known yet.
    ``storage``, ``disk_mib`` and ``network`` are as in ``Server``; ``folder`` is where a world in a share is to be
    made, None if it is there already.
    """

    server_id: ServerId
    number: int
    running: bool
    restarts: int
    spec_hash: str
    world_generation: int
    memory_mib: int
    endpoints: tuple[Endpoint, ...]
    may_make_world: bool = True
    address: WantedAddress | None = None
    storage: Storage | None = None
    disk_mib: int | None = None
    network: Network | None = None
    folder: WantedFolder | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """Something to remove for good: one generation of a world, or (``world_generation`` None) everything else that
    the engine keeps of the server: its process, its run folder, its objects. Of a world in a share the engine removes
    its own part only: the folder is the cloud's."""

    server_id: ServerId
    world_generation: int | None = None
    storage: Storage | None = None


class Phase(StrEnum):
    """Where a process is in its life, as seen."""

    STARTING = "starting"  # runs, has not said that it is ready
    READY = "ready"
    STOPPING = "stopping"  # asked to save and quit
    WAITING = "waiting"  # crashed; started again at ``next_start_at``
    STOPPED = "stopped"  # ended because it was asked to, or never started


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """The process of a server as seen. ``crashes`` counts unasked exits since it was last ready for ten minutes.
    ``pending`` is a sentence for its owner: what is waited for besides the game itself (a node, a volume, an address).
    """

    phase: Phase
    since: datetime
    spec_hash: str
    restarts: int
    crashes: int = 0
    last_exit: Exit | None = None
    next_start_at: datetime | None = None
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class WayIn:
    """A server's way in of its own, as seen. ``hosts``: where the balancer says that it is reached, empty while it says
    nothing; ``annotations``: those that are on it, the cloud's and everybody's."""

    hosts: tuple[str, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Observed:
    """All that the engine has seen of one server. ``complete`` False means the cache is still filling: decide
    nothing. ``process`` None means there is no process and none is remembered. ``way_in``, ``place`` and ``node`` are
    None where there is no such thing; ``disks`` has those of ``worlds`` whose size is known, by generation.
    ``begun`` and ``given_up`` are generations in a share that are no worlds: a worker waits for the folder of those,
    and will never make anything of these, which nothing has mounted any more."""

    server_id: ServerId
    complete: bool
    process: ProcessSeen | None = None
    worlds: frozenset[int] = field(default_factory=frozenset)
    exists: bool = False  # whether anything at all is kept of it, worlds included
    way_in: WayIn | None = None
    place: Place | None = None
    node: str | None = None
    disks: Mapping[int, DiskSeen] = field(default_factory=dict)
    begun: frozenset[int] = field(default_factory=frozenset)
    given_up: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a running server uses now. ``cpu_seconds`` is a total since its start; ``roster`` are the players by the
    join and leave lines of its output, None where the game has none."""

    cpu_seconds: float
    memory_mib: float
    disk_mib: float | None
    roster: tuple[str, ...] | None
    process_started_at: datetime


RESTART_BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


def restart_delay(crashes: int) -> timedelta:
    """How long to wait before a game that crashed ``crashes`` times (≥ 1) in a row is started again."""
    return timedelta(seconds=RESTART_BACKOFF[min(max(crashes, 1), len(RESTART_BACKOFF)) - 1])
