"""An installation in memory that can be pushed about: one engine world, one database, controllers that come and go."""

from __future__ import annotations

import asyncio
from random import Random

from controlling import GAME, Clock, MemoryRows, Shelf
from overworld.cloud.none import NoCloud
from overworld.controller.planner import plan
from overworld.controller.preparing import Terms
from overworld.controller.reconciler import Reconciler
from overworld.controller.seen import is_ended
from overworld.controller.subject import Subject
from overworld.controller.workqueue import WorkQueue
from overworld.domain.conditions import ConditionType, find_condition
from overworld.domain.errors import EngineRefused, EngineUnavailable, Unavailable
from overworld.domain.observed import Phase
from overworld.domain.servers import Desired, Endpoint, ServerId
from overworld.domain.state import State
from overworld.engines.base import Wake
from overworld.engines.memory import MemoryEngine, MemoryWorld
from overworld.store.servers import ServerRecord


async def _at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


class Installation:
    """Time moves by ``clock``; ``work`` lets the controller do all that it can do now. ``violations`` holds every
    breach of safety, heard from the world itself at the moment that it happens."""

    def __init__(self) -> None:
        super().__init__()  # a state machine may stand beside it
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.world = MemoryWorld(clock=self.clock)
        self.world.on_change = self.changed
        self.running: set[ServerId] = set()
        self.rows = MemoryRows(self.clock)
        self.shelf = Shelf(GAME)
        self.faults_left: dict[str, int] = {}
        self.held: list[ServerId] | None = None
        self.copy: ServerRecord | None = None
        self.meddled_with: set[ServerId] = set()
        self.created = 0
        self.violations: list[str] = []

    def start_controller(self) -> None:
        self.rows.epoch += 1
        self.rows.fault = lambda _call, _keys: self.next_fault("rows")
        self.queue = WorkQueue(clock=self.clock.monotonic, random=Random(1))
        self.engine = MemoryEngine(self.world)
        self.engine.fault = lambda _call, _key: self.next_fault("before")
        self.engine.late_fault = lambda _call, _key: self.next_fault("after")
        self.engine.wake_through = self.wake
        self.loop.run_until_complete(self.engine.start(self.queue.add))
        self.reconciler = Reconciler(
            self.rows,
            self.engine,
            self.shelf,
            self.queue,
            Terms(epoch=self.rows.epoch, host="play.example", ports=range(30000, 30010)),
            cloud=NoCloud(),
            clock=self.clock,
            sleep=_at_once,
        )
        self.running_task = self.loop.create_task(self.reconciler.run())
        self.resync()

    def end_controller(self) -> None:
        self.running_task.cancel()
        self.loop.run_until_complete(asyncio.gather(self.running_task, return_exceptions=True))
        self.loop.run_until_complete(self.engine.close())

    def next_fault(self, place: str) -> Exception | None:
        for kind in ("unavailable", "refused"):
            if self.faults_left.get(f"{place} {kind}", 0) > 0:
                self.faults_left[f"{place} {kind}"] -= 1
                if place == "rows":
                    return Unavailable("The database does not answer.")
                if kind == "refused":
                    return EngineRefused("DiskFull", "The disk is full: make room.")
                return EngineUnavailable("The engine does not answer.")
        return None

    def wake(self, wake: Wake, key: ServerId) -> None:
        if self.held is None:
            wake(key)
        else:
            self.held.append(key)

    def changed(self, key: ServerId, what: str) -> None:
        """The safety of every single step, heard from the world itself."""
        if what.startswith("started"):
            if key in self.running:
                self.violations.append(f"two games on the world of {key}")
            self.running.add(key)
        elif what == "ended":
            self.running.discard(key)
        else:
            generation = int(what.rsplit(" ", 1)[1])
            row = self.rows.rows.get(key)
            if row is None:
                self.violations.append(f"a world without a row was removed: {key}")
                return
            server = row.server
            is_purged = server.desired is Desired.DELETED and (server.purge_at or self.clock.now) <= self.clock.now
            is_retired = generation != server.world_generation and any(
                world.generation == generation and world.keep_until <= self.clock.now for world in server.retired_worlds
            )
            if not (is_purged or is_retired):
                self.violations.append(f"world {generation} of {key} was removed too early")

    def resync(self) -> None:
        for key in {*self.rows.rows, *self.engine.server_ids()}:
            self.queue.add(key)

    def work(self) -> None:
        """Let the controller do all that it can do now."""

        async def until_idle() -> None:
            self.queue.add("nobody")  # so that the queue looks at the clock
            for _ in range(2000):
                await asyncio.sleep(0)
                if self.queue.depth == 0 and self.reconciler.is_idle:
                    break
            else:
                raise AssertionError("the controller never comes to rest: a hot loop")

        self.loop.run_until_complete(until_idle())
        if self.running_task.done():
            self.running_task.result()

    def pick(self, index: int, *, is_deleted: bool | None = None) -> ServerId | None:
        """One of the servers that there are, if there is one."""
        keys = [
            key
            for key, row in self.rows.rows.items()
            if is_deleted is None or (row.server.desired is Desired.DELETED) is is_deleted
        ]
        return keys[index % len(keys)] if keys else None

    def tell(self, key: ServerId, told: bool) -> None:
        if told:  # else the NOTIFY was lost
            self.queue.add(key)

    def is_as_asked(self, key: ServerId) -> None:
        row, observed = self.rows.rows[key], self.engine.observed(key)
        ready = find_condition(row.status.conditions, ConditionType.READY)
        assert ready is not None
        match row.server.desired:
            case Desired.RUNNING:
                assert observed.process is not None
                assert observed.process.restarts == row.server.restarts
                if observed.process.phase is Phase.STARTING:  # it was told once that it never becomes ready
                    assert row.state is State.FAILED
                else:
                    assert observed.process.phase is Phase.READY
                    assert row.state is State.RUNNING
                    assert ready.is_true
            case Desired.STOPPED:
                assert is_ended(observed.process)
                assert row.state is State.STOPPED
            case Desired.DELETED:
                assert is_ended(observed.process)
                assert row.server.purge_at is not None
                assert row.server.purge_at > self.clock.now, "it should be gone"
        if is_ended(observed.process) and row.server.desired is not Desired.DELETED:
            assert row.server.world_generation in observed.worlds

    def nothing_is_left_to_do(self) -> None:
        writes = self.rows.writes
        for key in self.rows.rows:
            record = self.rows.record(key)
            endpoints = tuple(
                Endpoint(lease.name, lease.protocol, "play.example", lease.port) for lease in record.leases
            )
            subject = Subject(record.server, record.status, endpoints, GAME)
            again = plan(subject, self.engine.observed(key), self.clock.now)
            assert again.is_idle
            assert again.conditions == record.status.conditions
        self.resync()
        self.work()
        assert self.rows.writes == writes, "a settled world was written"
