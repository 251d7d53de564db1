"""What tests of the controller are made of: a game, servers, a clock to turn, and rows in memory.

``MemoryRows`` keeps the promises of the store that the controller rests on (fencing, purge only of deleted servers,
ended operations stay ended), so that thousands of random histories can be tried in seconds; the integration tests try
the same controller on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from overworld.controller.subject import Subject
from overworld.domain.addresses import AddressLease
from overworld.domain.events import NewEvent
from overworld.domain.games import (
    Console,
    Game,
    Memory,
    Port,
    Protocol,
    Ready,
    Start,
    Stop,
    WorldLayout,
)
from overworld.domain.operations import Operation, OperationKind, Outcome
from overworld.domain.servers import NOT_YET_SEEN, Desired, Endpoint, Server, ServerId, Status
from overworld.domain.state import State, derive_state
from overworld.games.catalogue import Catalogue
from overworld.store.lease import LeaseLost
from overworld.store.ports import PortLease
from overworld.store.servers import ServerRecord
from overworld.store.statuses import StatusWrite

BEGINNING = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)

GAME = Game(
    slug="chess",
    title="Chess",
    description="A game for tests.",
    revision="1",
    ports=(Port("game", Protocol.UDP, 30000),),
    variables=(),
    files=(),
    start=Start(programs=("/bin/chess",), arguments=()),
    stop=Stop(saved="saved", grace=timedelta(seconds=30)),
    ready=Ready(line="ready", within=timedelta(minutes=2)),
    console=Console(),
    query=None,
    roster=None,
    world=WorldLayout(),
    memory=Memory(64, 128),
    connect="{{host}}",
    image="chess",
)

ENDPOINT = Endpoint("game", Protocol.UDP, "play.example", 30000)


class Clock:
    """A time that moves only when told to; ``monotonic`` is the same time for work queues."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return (self.now - BEGINNING).total_seconds()

    def advance(self, **duration: float) -> None:
        """Move by ``timedelta(**duration)``."""
        self.now += timedelta(**duration)


class Shelf(Catalogue):
    """A catalogue whose entries a test puts in and takes out."""

    def __init__(self, *games: Game) -> None:
        super().__init__(games)
        self.entries = {game.slug: game for game in games}

    def find(self, slug: str) -> Game | None:
        return self.entries.get(slug)


def make_server(server_id: str = "chess1", **changes: Any) -> Server:
    """A server wanted running at generation 1."""
    server = Server(
        id=server_id,
        number=1,
        account_id="owner",
        name=server_id,
        game=GAME.slug,
        generation=1,
        desired=Desired.RUNNING,
        desired_generation=1,
        restarts=0,
        variables={},
        memory_mib=128,
        world_generation=1,
        retired_worlds=(),
        created_at=BEGINNING,
        updated_at=BEGINNING,
    )
    return replace(server, **changes)


def make_subject(
    server: Server | None = None,
    *,
    status: Status = NOT_YET_SEEN,
    endpoints: tuple[Endpoint, ...] = (ENDPOINT,),
    game: Game | None = GAME,
) -> Subject:
    """A subject of the planner, everything usual unless said."""
    return Subject(server or make_server(), status, endpoints, game)


@dataclass(slots=True)
class Row:
    """A server in ``MemoryRows``."""

    server: Server
    status: Status = NOT_YET_SEEN
    state: State = State.PENDING
    leases: tuple[PortLease, ...] = ()
    address: AddressLease | None = None


@dataclass(slots=True)
class MemoryRows:
    """The ``Rows`` of a controller, and what the services would do to them. ``fault`` is asked before every
    call, with its name and the servers that it is about."""

    clock: Clock
    epoch: int = 1
    rows: dict[ServerId, Row] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    events: list[NewEvent] = field(default_factory=list)
    writes: int = 0
    fault: Callable[[str, Collection[ServerId]], Exception | None] = lambda _call, _keys: None

    def _go_wrong(self, call: str, keys: Collection[ServerId] = ()) -> None:
        error = self.fault(call, keys)
        if error is not None:
            raise error

    async def load(self, ids: Sequence[ServerId]) -> Mapping[ServerId, ServerRecord]:
        self._go_wrong("load", ids)
        return {key: self.record(key) for key in ids if key in self.rows}

    async def due_ids(self) -> Iterable[ServerId]:
        self._go_wrong("due_ids")
        return [key for key, row in self.rows.items() if row.server.generation > row.status.observed_generation]

    async def all_ids(self) -> Iterable[ServerId]:
        self._go_wrong("all_ids")
        return list(self.rows)

    async def leased_ports(self) -> set[int]:
        self._go_wrong("leased_ports")
        return {lease.port for row in self.rows.values() for lease in row.leases}

    async def lease_offered(
        self, offers: Mapping[ServerId, Sequence[PortLease]]
    ) -> Mapping[ServerId, Sequence[PortLease]]:
        self._go_wrong("lease_offered", offers)
        for server_id, leases in offers.items():
            if server_id in self.rows:
                taken = {lease.port for row in self.rows.values() for lease in row.leases}
                self.rows[server_id].leases = tuple(lease for lease in leases if lease.port not in taken)
        return {server_id: self.rows[server_id].leases for server_id in offers if server_id in self.rows}

    async def store_address(self, epoch: int, lease: AddressLease, events: Sequence[NewEvent], now: datetime) -> None:
        self._go_wrong("store_address", [lease.server_id])
        self._fence(epoch)
        if lease.server_id in self.rows:
            self.rows[lease.server_id].address = lease
            self.events += events

    async def write(self, epoch: int, writes: Sequence[StatusWrite], now: datetime) -> None:
        self._go_wrong("write", [write.server_id for write in writes])
        self._fence(epoch)
        for write in writes:
            self._write(write, now)

    async def is_still_deleted(self, server_id: ServerId, generation: int) -> bool:
        self._go_wrong("is_still_deleted", [server_id])
        row = self.rows.get(server_id)
        return row is not None and row.server.desired is Desired.DELETED and row.server.generation == generation

    async def purge(self, epoch: int, last: StatusWrite, now: datetime) -> None:
        self._go_wrong("purge", [last.server_id])
        self._fence(epoch)
        self._write(last, now)
        if last.server_id in self.rows and self.rows[last.server_id].server.desired is Desired.DELETED:
            self._abort(last.server_id)
            del self.rows[last.server_id]

    def record(self, key: ServerId) -> ServerRecord:
        """What the controller reads of a server."""
        row = self.rows[key]
        open_operations = tuple(
            operation
            for operation in self.operations.values()
            if operation.server_id == key and operation.outcome is Outcome.RUNNING
        )
        return ServerRecord(
            row.server, row.status, derive_state(row.server, row.status), open_operations, row.leases, row.address
        )

    def insert(self, server: Server, kind: OperationKind = OperationKind.CREATE) -> Operation:
        """A new server, as web writes it."""
        self.rows[server.id] = Row(server)
        return self._ask(server, kind)

    def wish(self, key: ServerId, kind: OperationKind, **changes: Any) -> Operation:
        """A new wish for a server, as web writes it; an older one is aborted."""
        old = self.rows[key].server
        generation = old.generation + 1
        server = replace(
            old, generation=generation, desired_generation=generation, updated_at=self.clock.now, **changes
        )
        self.rows[key].server = server
        self._abort(key)
        return self._ask(server, kind)

    def edit(self, key: ServerId, **changes: Any) -> None:
        """A change of the spec that no operation follows."""
        old = self.rows[key].server
        self.rows[key].server = replace(old, generation=old.generation + 1, **changes)

    def _ask(self, server: Server, kind: OperationKind) -> Operation:
        operation = Operation(
            id=f"op{len(self.operations)}",
            server_id=server.id,
            account_id=server.account_id,
            kind=kind,
            generation=server.generation,
            created_at=self.clock.now,
        )
        self.operations[operation.id] = operation
        return operation

    def _abort(self, key: ServerId) -> None:
        for operation in self.operations.values():
            if operation.server_id == key and operation.outcome is Outcome.RUNNING:
                self.operations[operation.id] = replace(operation, outcome=Outcome.ABORTED)

    def _fence(self, epoch: int) -> None:
        if epoch != self.epoch:
            raise LeaseLost("Another one has taken over.")

    def _write(self, write: StatusWrite, now: datetime) -> None:
        self.writes += 1
        row = self.rows.get(write.server_id)
        if row is None:
            return
        row.status, row.state = write.status, write.state
        self.events += write.events
        for operation_id, verdict in write.verdicts:
            operation = self.operations[operation_id]
            if operation.outcome is Outcome.RUNNING:
                self.operations[operation_id] = replace(
                    operation,
                    outcome=verdict.outcome,
                    reason=verdict.reason,
                    message=verdict.message,
                    ended_at=now,
                )
