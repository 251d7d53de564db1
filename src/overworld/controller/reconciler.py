"""Works off the queue: load many servers at once, plan each, carry the plans out together, store what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import structlog

from overworld.controller.executor import Executor
from overworld.controller.metrics import RECONCILE_SECONDS, RECONCILES
from overworld.controller.outcomes import Done, Failed, Outcome, Overtaken, Refused, settle
from overworld.controller.planner import Plan, plan
from overworld.controller.ports import PortFinder
from overworld.controller.rows import Rows
from overworld.controller.subject import Subject
from overworld.controller.workqueue import WorkQueue
from overworld.controller.writer import Entry, StatusWriter
from overworld.domain.conditions import Reason
from overworld.domain.errors import EngineError, Unavailable
from overworld.domain.observed import Observed
from overworld.domain.servers import Endpoint, ServerId
from overworld.engines.base import Engine
from overworld.games.catalogue import Catalogue
from overworld.store.ports import PortLease
from overworld.store.servers import ServerRecord

BATCH = 100
MOST_IN_WORK = 400
"""Servers in work at once: a batch is taken only while there is room, so that some slow ones hold up nobody."""
DATABASE_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
RETRY_NO_PORT = timedelta(seconds=30)
SHORTEST_RETRY = timedelta(seconds=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a reconciler works under. ``ports`` are those that servers may be given, ``host`` is where players reach
    them; ``deadline`` bounds the work on one server."""

    epoch: int
    host: str
    ports: range
    programs_folder: Path | None = None
    deadline: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Job:
    """One server in work. ``outcome`` is set where it is known before anything was carried out."""

    record: ServerRecord
    subject: Subject
    observed: Observed
    plan: Plan
    began: float
    outcome: Outcome | None = None


class Reconciler:
    """Makes the world match the rows of every server on the queue, again and again.

    A server that is as it should be costs no write and no call of the engine. A fault of one server touches no other;
    a fault of the database pauses all of them and costs none its back-off.
    """

    def __init__(
        self,
        rows: Rows,
        engine: Engine,
        catalogue: Catalogue,
        queue: WorkQueue,
        terms: Terms,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rows = rows
        self._engine = engine
        self._catalogue = catalogue
        self._queue = queue
        self._terms = terms
        self._clock = clock
        self._sleep = sleep
        self._executor = Executor(rows, engine, deadline=terms.deadline, programs_folder=terms.programs_folder)
        self._writer = StatusWriter(rows, terms.epoch, clock)
        self._ports = PortFinder(rows, engine, terms.ports)
        self._in_work = 0
        self._room = asyncio.Event()
        self._is_database_away = False
        self._database_pauses = 0

    @property
    def is_idle(self) -> bool:
        """Whether no server is in work."""
        return not self._in_work

    async def run(self) -> None:
        """Work until the queue is closed, then end what is in work. Raises ``LeaseLost`` (in a group): every call
        under way was cancelled."""
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._writer.run())
            while keys := await self._take():
                tasks.create_task(self._work_on(keys))
            while self._in_work:
                await self._wait_for_room()
            writing.cancel()

    async def _take(self) -> list[ServerId]:
        while self._in_work >= MOST_IN_WORK:
            await self._wait_for_room()
        if self._is_database_away:
            self._is_database_away = False
            pause = DATABASE_PAUSES_SECONDS[min(self._database_pauses, len(DATABASE_PAUSES_SECONDS) - 1)]
            self._database_pauses += 1
            await self._sleep(pause)
        keys = await self._queue.take(min(BATCH, MOST_IN_WORK - self._in_work))
        self._in_work += len(keys)
        return keys

    async def _wait_for_room(self) -> None:
        self._room.clear()
        await self._room.wait()

    async def _work_on(self, keys: Sequence[ServerId]) -> None:
        began = perf_counter()
        left = set(keys)
        jobs: list[_Job] = []
        try:
            records = await self._load(keys)
            for key, record in records.items():
                try:
                    jobs.append(self._plan(_checked(record), began))
                except Exception:
                    # Its own fault must not touch the others.
                    log.exception("a server cannot be read or planned", server_id=key)
                    left.discard(key)
                    self._put_off(key)
            jobs = await self._lease_ports(jobs)
        except Unavailable as error:
            if not self._is_database_away:
                log.warning("the database does not answer; trying again", error=error.detail)
            self._is_database_away = True
            for key in left:
                self._give_back(key)
            return
        self._database_pauses = 0
        async with asyncio.TaskGroup() as tasks:
            for key in left - records.keys():
                tasks.create_task(self._end_orphan(key))
            for job in jobs:
                if job.plan.is_idle:
                    self._settle(job, Done())
                else:
                    tasks.create_task(self._carry_out(job))

    async def _load(self, keys: Sequence[ServerId]) -> dict[ServerId, ServerRecord | Exception]:
        """The servers that have rows; the error of one whose row cannot be read. Raises ``Unavailable``."""
        try:
            return dict(await self._rows.load(keys))
        except Unavailable:
            raise
        except Exception as error:
            if len(keys) == 1:
                return {keys[0]: error}
            found: dict[ServerId, ServerRecord | Exception] = {}
            for key in keys:
                found |= await self._load([key])
            return found

    def _plan(self, record: ServerRecord, began: float, leases: Sequence[PortLease] | None = None) -> _Job:
        endpoints = tuple(
            Endpoint(lease.name, lease.protocol, self._terms.host, lease.port)
            for lease in sorted(record.leases if leases is None else leases, key=lambda lease: lease.name)
        )
        subject = Subject(record.server, record.status, endpoints, self._catalogue.find(record.server.game))
        observed = self._engine.observed(record.server.id)
        return _Job(record, subject, observed, plan(subject, observed, self._clock()), began)

    async def _lease_ports(self, jobs: list[_Job]) -> list[_Job]:
        """The jobs, those that lacked ports planned again with them. Raises ``Unavailable``."""
        lacking = [job for job in jobs if job.plan.lease_ports]
        if not lacking:
            return jobs
        offers: dict[ServerId, Sequence[PortLease]] = {}
        faults: dict[ServerId, Outcome] = {}
        for job in lacking:
            server_id, game = job.subject.server.id, job.subject.game
            assert game is not None  # or it would lack none
            try:
                found = await self._ports.find(server_id, game.ports)
            except EngineError as error:
                faults[server_id] = Failed(error.detail)
                continue
            if found:
                offers[server_id] = found
            else:
                faults[server_id] = self._no_port()
        leased = await self._rows.lease_offered(offers)
        replanned = []
        for job in jobs:
            server_id = job.subject.server.id
            planned = self._plan(job.record, job.began, leased[server_id]) if server_id in leased else job
            if planned.plan.lease_ports:
                self._ports.forget()
                planned = replace(planned, outcome=faults.get(server_id, Failed("Its ports were taken meanwhile.")))
            replanned.append(planned)
        return replanned

    def _no_port(self) -> Refused:
        ports = self._terms.ports
        return Refused(
            Reason.NO_PORT_FREE,
            f"Every port from {ports[0]} to {ports[-1]} is in use. Delete a server that is not needed any more, or ask "
            "the operator for a wider port range (OVERWORLD_PORT_RANGE).",
            RETRY_NO_PORT,
        )

    async def _carry_out(self, job: _Job) -> None:
        server, operations = job.subject.server, job.record.open_operations
        with structlog.contextvars.bound_contextvars(
            server_id=server.id, operation_id=operations[-1].id if operations else None
        ):
            outcome = job.outcome or await self._executor.carry_out(job.subject, job.plan)
            self._settle(job, outcome)

    def _settle(self, job: _Job, outcome: Outcome) -> None:
        server_id = job.subject.server.id
        try:
            write = settle(
                job.subject,
                job.plan,
                outcome,
                job.observed,
                operations=job.record.open_operations,
                failures=self._queue.failures(server_id) + 1,
                now=self._clock(),
            )
        except Exception:
            log.exception("nothing can be concluded about a server", server_id=server_id)
            self._put_off(server_id)
            return
        RECONCILES.labels(type(outcome).__name__.lower()).inc()
        if write is None:
            self._finish(job, outcome)
        else:
            is_purge = job.plan.purge and isinstance(outcome, Done)
            self._writer.add(Entry(write, lambda error: self._stored(job, outcome, error), purge=is_purge))

    def _stored(self, job: _Job, outcome: Outcome, error: Exception | None) -> None:
        if error is None:
            self._finish(job, outcome)
        elif isinstance(error, Unavailable):
            self._is_database_away = True
            self._give_back(job.subject.server.id)
        else:
            self._finish(job, Failed("Its status cannot be stored."))

    def _finish(self, job: _Job, outcome: Outcome) -> None:
        """Every way of a server out of work, but for faults of the database."""
        key = job.subject.server.id
        match outcome:
            case Failed():
                self._queue.retry(key)
            case Overtaken():
                self._queue.add(key)
            case Refused(retry_after=retry_after):
                self._queue.forget(key)
                if retry_after is not None:
                    self._queue.add_after(key, max(retry_after, SHORTEST_RETRY))
            case Done():
                self._queue.forget(key)
                if job.plan.requeue_after is not None and not job.plan.purge:
                    self._queue.add_after(key, job.plan.requeue_after)
        RECONCILE_SECONDS.observe(perf_counter() - job.began)
        self._release(key)

    def _put_off(self, key: ServerId) -> None:
        self._queue.retry(key)
        self._release(key)

    def _give_back(self, key: ServerId) -> None:
        self._queue.add(key)
        self._release(key)

    def _release(self, key: ServerId) -> None:
        self._queue.done(key)
        self._in_work -= 1
        self._room.set()

    async def _end_orphan(self, key: ServerId) -> None:
        """A server without rows: what runs of it is stopped gracefully, its world is left alone."""
        outcome = await self._executor.stop_orphan(key, self._engine.observed(key))
        if isinstance(outcome, Failed):
            self._queue.retry(key)
        else:
            self._queue.forget(key)
        self._release(key)


def _checked(record: ServerRecord | Exception) -> ServerRecord:
    if isinstance(record, Exception):
        raise record
    return record
