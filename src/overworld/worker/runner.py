"""From a wake-up to a verdict: take the lease, do the work, and write down how it ended or when to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter

import structlog

from overworld.domain.errors import (
    EngineUnavailable,
    OverworldError,
    RepositoryLocked,
    SaveCancelled,
    SaveStoreUnavailable,
    Unavailable,
)
from overworld.domain.events import Level, NewEvent
from overworld.domain.operations import Operation, OperationKind, Outcome, Verdict
from overworld.store import events, jobs, operations, save_policies, world_leases
from overworld.store.database import Database, Transaction
from overworld.store.lease import LeaseLost
from overworld.worker.job import LEASE, Called, Job, kept_alive
from overworld.worker.metrics import JOB_SECONDS, JOBS_ENDED, JOBS_IN_WORK

RETRIES = (5.0, 20.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds before the attempts after the first; then it has failed."""
PASSING = (SaveStoreUnavailable, RepositoryLocked, SaveCancelled, EngineUnavailable, Unavailable)
"""What another attempt may not meet again; SaveCancelled is a program that somebody killed."""
FAILURES = "failures"
"""Among the arguments of an operation: what the next attempt has to know."""
LOOK_AGAIN_SECONDS = 1.0
TIDY_SECONDS = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """How a job succeeded: a sentence for its owner."""

    message: str
    reason: str = "Done"


@dataclass(frozen=True, slots=True)
class Handler:
    """What one kind of job does. ``run`` may be called again after any death of it; ``tidy`` ends for good what a job
    that is given up has begun; ``failed`` is the reason of the event that tells of that, and where the job
    ``concerns_saves`` that there are, of the problem that the server has until another succeeds."""

    run: Callable[[Job], Awaitable[Done]]
    tidy: Callable[[Job, str], Awaitable[None]]
    failed: str
    concerns_saves: bool = True


async def nothing_to_tidy(job: Job, why: str) -> None:
    """For jobs that leave nothing behind."""


def _failures(job: Job) -> int:
    """How many attempts failed: fewer than were begun, for a worker that died is not the job's fault."""
    failures = job.operation.arguments.get(FAILURES, 0)
    assert isinstance(failures, int)
    return failures


class Runner:
    """Works on one operation at a time for each call of ``work``; ``here`` calls at once, ``at_most`` jobs in all
    workers."""

    def __init__(
        self, database: Database, handlers: Mapping[OperationKind, Handler], holder: str, *, at_most: int, here: int
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._holder = holder
        self._at_most = at_most
        self._here = here

    async def work(self, operation_id: str) -> None:
        """Bring the operation to its end, or to its next attempt; returns at once if it has ended or somebody else
        works on it. Raises Unavailable where the database does not answer: it is found again as lost."""
        job = await asyncio.to_thread(self._begin, operation_id)
        if job is None:
            return
        operation = job.operation
        handler = self._handlers[operation.kind]
        with structlog.contextvars.bound_contextvars(server_id=operation.server_id, operation_id=operation.id):
            JOBS_IN_WORK.inc()
            began = perf_counter()
            try:
                await self._attempt(job, handler)
            finally:
                JOBS_IN_WORK.dec()
                JOB_SECONDS.labels(operation.kind).observe(perf_counter() - began)
                await asyncio.shield(asyncio.to_thread(self._release, job))

    def _begin(self, operation_id: str) -> Job | None:
        with self._database.transaction() as tx:
            operation = operations.find_operation(tx, operation_id, None)
            if operation is None or operation.outcome is not Outcome.RUNNING:
                return None
            lease = world_leases.acquire(
                tx,
                operation.server_id,
                operation_id,
                self._holder,
                LEASE,
                at_most=self._at_most,
                by_holder=self._here,
            )
            if isinstance(lease, world_leases.Busy):
                if lease.by != operation_id:
                    jobs.enqueue(tx, operation_id, at=datetime.now(UTC) + timedelta(seconds=LOOK_AGAIN_SECONDS))
                return None
            operation = jobs.begin_attempt(tx, operation_id)
            return None if operation is None else Job(self._database, operation, lease)

    async def _attempt(self, job: Job, handler: Handler) -> None:
        try:
            async with kept_alive(job):
                if job.operation.cancel_asked_at is not None:
                    raise Called
                done = await handler.run(job)
            await self._end(job, Verdict(Outcome.SUCCEEDED, done.reason, done.message), handler)
        except LeaseLost as error:
            log.warning("a job was taken over", error=error.detail)
        except Called:
            await self._give_up(job, handler, Verdict(Outcome.CANCELLED, "Cancelled", "It was called off."))
        except PASSING as error:
            await self._retry(job, handler, error)
        except OverworldError as error:
            reason = str(error.extra.get("reason") or type(error).__name__)
            await self._give_up(job, handler, Verdict(Outcome.FAILED, reason, error.detail))
        except asyncio.CancelledError:
            log.info("a job is left for the next worker", kind=job.operation.kind)
            raise
        except Exception:
            log.exception("a job failed by a fault of ours", kind=job.operation.kind)
            says = "Something went wrong inside Overworld; its log tells the operator more."
            await self._give_up(job, handler, Verdict(Outcome.FAILED, "Internal", says))

    async def _retry(self, job: Job, handler: Handler, error: OverworldError) -> None:
        failures = _failures(job) + 1
        if failures > len(RETRIES):
            says = f"{error.detail} Given up after {failures} attempts."
            await self._give_up(job, handler, Verdict(Outcome.FAILED, type(error).__name__, says))
            return
        pause = RETRIES[failures - 1]
        log.warning(
            "a job is tried again", kind=job.operation.kind, failures=failures, error=error.detail, in_seconds=pause
        )
        at = datetime.now(UTC) + timedelta(seconds=pause)
        says = f"{error.detail} Attempt {failures + 1} follows at {at:%H:%M:%S} UTC."
        job.say(job.progress.done, job.progress.of, says)

        def put_off(tx: Transaction) -> None:
            now = datetime.now(UTC)
            jobs.write_progress(tx, job.operation.id, job.progress)
            jobs.write_arguments(tx, job.operation.id, {FAILURES: failures})
            jobs.enqueue(tx, job.operation.id, at=at)
            if failures == 1 and isinstance(error, SaveStoreUnavailable):  # somebody may have to mend it
                event = NewEvent(job.server_id, "StoreUnavailable", says, Level.WARNING)
                events.insert_events(tx, [event], now)

        await self._write_or_leave(job, put_off)

    async def _give_up(self, job: Job, handler: Handler, verdict: Verdict) -> None:
        try:
            async with asyncio.timeout(TIDY_SECONDS):
                await handler.tidy(job, verdict.message)
        except (OverworldError, TimeoutError) as error:
            # What could not be tidied is tried again with the whole job, so that nothing stays half done for ever.
            log.warning("a job could not be tidied up after", error=str(error))
            if _failures(job) < len(RETRIES):
                await self._retry(job, handler, Unavailable(verdict.message))
                return
        await self._end(job, verdict, handler)

    async def _end(self, job: Job, verdict: Verdict, handler: Handler) -> None:
        """Store the verdict, and with it the problem that its server has from now on, or has no more."""
        operation, now = job.operation, datetime.now(UTC)

        def end(tx: Transaction) -> Operation | None:
            ended = operations.end_operation(tx, operation.id, verdict, now)
            if ended is not None and verdict.outcome is Outcome.FAILED:
                event = NewEvent(operation.server_id, handler.failed, verdict.message, Level.WARNING)
                events.insert_events(tx, [event], now)
                if handler.concerns_saves:
                    save_policies.write_problem(tx, operation.server_id, handler.failed, verdict.message, now)
            elif ended is not None and verdict.outcome is Outcome.SUCCEEDED:
                save_policies.solve_problem(tx, operation.server_id, handler.failed)
            return ended

        if await self._write_or_leave(job, end):
            JOBS_ENDED.labels(operation.kind, verdict.outcome).inc()
            log.info("a job ended", kind=operation.kind, outcome=verdict.outcome, message=verdict.message)

    async def _write_or_leave(self, job: Job, work: Callable[[Transaction], object]) -> bool:
        """Write it unless the lease or the database is gone: then the operation is found again as lost."""
        try:
            await job.write(work)
        except (LeaseLost, Unavailable) as error:
            log.warning("the end of a job was not written; it is looked at again", error=error.detail)
            return False
        return True

    def _release(self, job: Job) -> None:
        try:
            with self._database.transaction() as tx:
                world_leases.release(tx, job.lease)
        except Unavailable as error:
            log.warning("a lease was not released; it expires", error=error.detail)
