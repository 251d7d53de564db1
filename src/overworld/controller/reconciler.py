"""Works off the queue: load many servers at once, plan each, carry the plans out together, store what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter

import structlog

from overworld.cloud.base import Cloud
from overworld.controller.executor import Executor
from overworld.controller.metrics import RECONCILE_SECONDS, RECONCILES
from overworld.controller.outcomes import Done, Failed, Outcome, Overtaken, Refused, settle
from overworld.controller.preparing import Job, Preparer, Terms
from overworld.controller.rows import Rows
from overworld.controller.workqueue import WorkQueue
from overworld.controller.writer import Entry, StatusWriter
from overworld.domain.errors import Unavailable
from overworld.domain.servers import ServerId
from overworld.engines.base import Engine
from overworld.games.catalogue import Catalogue

BATCH = 100
MOST_IN_WORK = 400
"""Servers in work at once: a batch is taken only while there is room, so that some slow ones hold up nobody."""
DATABASE_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
SHORTEST_RETRY = timedelta(seconds=1)

log = structlog.get_logger(__name__)


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
        cloud: Cloud,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._clock = clock
        self._sleep = sleep
        self._preparer = Preparer(rows, engine, catalogue, terms, clock)
        self._executor = Executor(rows, engine, cloud, terms, clock)
        self._writer = StatusWriter(rows, terms.epoch, clock)
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
        try:
            prepared = await self._preparer.prepare(keys)
        except Unavailable as error:
            if not self._is_database_away:
                log.warning("the database does not answer; trying again", error=error.detail)
            self._is_database_away = True
            for key in keys:
                self._give_back(key)
            return
        except Exception:
            log.exception("servers cannot be prepared", server_ids=keys)
            for key in keys:
                self._put_off(key)
            return
        self._database_pauses = 0
        for key in prepared.broken:
            self._put_off(key)
        async with asyncio.TaskGroup() as tasks:
            for key in prepared.orphans:
                tasks.create_task(self._end_orphan(key))
            for job in prepared.jobs:
                if job.plan.is_idle:
                    self._settle(job, Done())
                else:
                    tasks.create_task(self._carry_out(job))

    async def _carry_out(self, job: Job) -> None:
        operations = job.record.open_operations
        with structlog.contextvars.bound_contextvars(
            server_id=job.server_id, operation_id=operations[-1].id if operations else None
        ):
            outcome = job.outcome or await self._executor.carry_out(job.subject, job.plan)
            # What came of it is often to be seen at once, and is then told instead of what was there before.
            self._settle(self._preparer.look_again(job) if isinstance(outcome, Done) else job, outcome)

    def _settle(self, job: Job, outcome: Outcome) -> None:
        try:
            write = settle(
                job.subject,
                job.plan,
                outcome,
                job.observed,
                operations=job.record.open_operations,
                failures=self._queue.failures(job.server_id) + 1,
                now=self._clock(),
            )
        except Exception:
            log.exception("nothing can be concluded about a server", server_id=job.server_id)
            self._put_off(job.server_id)
            return
        RECONCILES.labels(type(outcome).__name__.lower()).inc()
        if write is None:
            self._finish(job, outcome)
        else:
            is_purge = job.plan.purge and isinstance(outcome, Done)
            self._writer.add(Entry(write, lambda error: self._stored(job, outcome, error), purge=is_purge))

    def _stored(self, job: Job, outcome: Outcome, error: Exception | None) -> None:
        if error is None:
            self._finish(job, outcome)
        elif isinstance(error, Unavailable):
            self._is_database_away = True
            self._give_back(job.server_id)
        else:
            self._finish(job, Failed("Its status cannot be stored."))

    def _finish(self, job: Job, outcome: Outcome) -> None:
        """Every way of a server out of work, but for faults of the database."""
        key = job.server_id
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
