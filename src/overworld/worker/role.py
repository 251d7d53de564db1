"""The worker as a running role: jobs as procrastinate hands them out, and one tick for all that is due.

Procrastinate only wakes: the operation is the truth, the lease on the world keeps jobs apart, and the tick finds what
was lost. So this process may die at any moment, and PostgreSQL may go away and come back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from overworld.domain.errors import EngineError, Unavailable
from overworld.domain.operations import OperationKind
from overworld.domain.recovery import Preparedness, derive_health
from overworld.engines.base import Engine
from overworld.services import schedules
from overworld.store import job_queue, jobs, revisions, save_reports, saves, world_leases
from overworld.store.database import Transaction
from overworld.worker import abandoned, metrics, orphans, quiet
from overworld.worker.dumping import Dumping
from overworld.worker.job import Job
from overworld.worker.proving import Proving
from overworld.worker.restoring import Restoring
from overworld.worker.runner import Done, Handler, Runner, nothing_to_tidy
from overworld.worker.taking import Taking
from overworld.worker.terms import Terms, Tools
from overworld.worker.uploading import Uploading

TICK_SECONDS = 2.0
HOUSE_SECONDS = 20.0
PAUSE_AFTER_FAULT_SECONDS = 2.0
ENGINE_LOOK_SECONDS = 0.1
SILENT_WORKER = timedelta(minutes=2)
OLD_LEASE = timedelta(days=2)
ROWS_KEPT = timedelta(days=90)
"""Of saves that failed or were removed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs at once: in this worker, and in all workers together."""

    here: int
    in_all: int


async def run_worker(
    tools: Tools,
    terms: Terms,
    schedule: schedules.Terms,
    limits: Limits,
    stop: asyncio.Event,
    *,
    dumping: Dumping | None,
    dump_every: timedelta,
    holder: str,
) -> None:
    """Do what is due and what is asked for until ``stop``; then what is in work is left for the next worker, with
    every game told to write again. Any number of workers may run.

    The engine is started by whoever owns it, and nothing is done before it has seen what runs. ``holder`` must be new
    for every start of a process. ``dumping`` None: this machine cannot.
    """
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    runner = Runner(tools.database, make_handlers(tools, terms), holder, at_most=limits.in_all, here=limits.here)
    if not await has_seen(tools.engine, stop):
        return
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_keep_ticking(tools, schedule, stop), name="worker: ticks")
        tasks.create_task(_keep_house(tools, terms, limits, holder, stop), name="worker: housekeeping")
        if dumping is not None:
            tasks.create_task(_dump_until(stop, dumping, dump_every), name="worker: dumps of the database")
        tasks.create_task(_keep_working(tools, runner, limits.here, stop), name="worker: jobs")


def make_handlers(tools: Tools, terms: Terms) -> dict[OperationKind, Handler]:
    """What is done for each kind of job."""
    taking = Taking(tools, terms)
    restoring = Restoring(tools, terms, taking)
    proving = Proving(tools, terms)
    uploading = Uploading(tools, terms, taking)
    handlers = {
        OperationKind.SAVE: Handler(taking.run, nothing_to_tidy, "SaveFailed"),
        OperationKind.FORGET: Handler(taking.run_forget, nothing_to_tidy, "SaveRemovalFailed"),
        OperationKind.RESTORE: Handler(restoring.run, restoring.tidy, "RestoreFailed"),
        OperationKind.CLONE: Handler(restoring.run, restoring.tidy, "CloneFailed"),
        OperationKind.CHECK: Handler(proving.check, nothing_to_tidy, "CheckFailed"),
        OperationKind.DRILL: Handler(proving.drill, nothing_to_tidy, "DrillFailed"),
        OperationKind.UPLOAD: Handler(uploading.run, uploading.tidy, "UploadFailed", concerns_saves=False),
    }
    return {kind: replace(handler, run=_if_allowed(tools, handler)) for kind, handler in handlers.items()}


def _if_allowed(tools: Tools, handler: Handler) -> Callable[[Job], Awaitable[Done]]:
    """Only where this machine can work with the store, and while this installation may."""

    async def run(job: Job) -> Done:
        if tools.refusal is not None:
            raise tools.refusal
        await tools.claims.check()
        return await handler.run(job)

    return run


async def has_seen(engine: Engine, stop: asyncio.Event) -> bool:
    """Wait until the engine knows what runs; False if ``stop`` came first."""
    while not engine.observed("nobody").complete:
        with suppress(TimeoutError):
            async with asyncio.timeout(ENGINE_LOOK_SECONDS):
                await stop.wait()
        if stop.is_set():
            return False
    return True


async def _keep_working(tools: Tools, runner: Runner, at_once: int, stop: asyncio.Event) -> None:
    """Jobs are tasks of ours and outlive the connections that brought them: a restart of PostgreSQL interrupts none."""
    places = asyncio.Semaphore(at_once)
    in_work: set[asyncio.Task[None]] = set()

    async def run(operation_id: str) -> None:
        try:
            async with places:
                await runner.work(operation_id)
        except Unavailable as error:
            log.warning("a job could not be begun; it is found again", operation_id=operation_id, error=error.detail)
        except Exception:
            log.exception("a job ended in a way that nobody foresaw", operation_id=operation_id)

    async def work(operation_id: str) -> None:
        task = asyncio.create_task(run(operation_id), name=f"job {operation_id}")
        in_work.add(task)
        task.add_done_callback(in_work.discard)
        await asyncio.shield(task)

    try:
        while not stop.is_set():
            try:
                await job_queue.serve(tools.database.url, work, at_once=at_once, stop=stop)
            except Unavailable as error:
                log.warning("jobs cannot be fetched", error=error.detail)
            except Exception:
                log.exception("the queue of jobs failed and begins anew")
            await _pause(stop, PAUSE_AFTER_FAULT_SECONDS)
    finally:
        for task in in_work:
            task.cancel()
        await asyncio.gather(*in_work, return_exceptions=True)


async def _keep_ticking(tools: Tools, schedule: schedules.Terms, stop: asyncio.Event) -> None:
    def tick() -> schedules.Ticked:
        with tools.database.transaction() as tx:
            return schedules.tick(tx, schedule, datetime.now(UTC))

    while not stop.is_set():
        try:
            await quiet.sweep(tools.database, tools.console, tools.catalogue)
            ticked = await asyncio.to_thread(tick)
            metrics.SCHEDULED.labels("opened").inc(ticked.opened)
            metrics.SCHEDULED.labels("skipped").inc(ticked.skipped)
            if ticked.requeued:
                log.warning("jobs whose worker died are taken up again", count=ticked.requeued)
        except Unavailable as error:
            log.warning("what is due cannot be read", error=error.detail)
        except Exception:
            log.exception("a tick failed")
        await _pause(stop, TICK_SECONDS)


async def _keep_house(tools: Tools, terms: Terms, limits: Limits, name: str, stop: asyncio.Event) -> None:
    def run(tx: Transaction, now: datetime) -> save_reports.Report:
        jobs.forget_dead(tx, SILENT_WORKER)
        world_leases.forget_expired(tx, now - OLD_LEASE)
        while tools.repositories.rewrap(tx, limit=100):
            log.info("passwords of saves are locked with the key in use")
        saves.prune_saves(tx, now - ROWS_KEPT)
        revisions.adopt_servers(tx)
        revisions.prune_gone(tx, now - terms.retention)
        return save_reports.read_report(tx, now)

    def keep() -> save_reports.Report:
        with tools.database.transaction() as tx:
            return run(tx, datetime.now(UTC))

    async def read_busy() -> list[str]:
        def read() -> list[str]:
            with tools.database.transaction() as tx:
                return world_leases.held(tx)

        return await asyncio.to_thread(read)

    while not stop.is_set():
        try:
            await tools.snapshots.sweep(read_busy)
            await abandoned.remove_abandoned(tools)
            if tools.refusal is None:
                await orphans.remove_orphans(tools, name, terms.retention, at_most=limits.in_all)
        except (Unavailable, EngineError) as error:
            log.warning("what is left over is not tidied up", error=error.detail)
        try:
            report = await asyncio.to_thread(keep)
            metrics.OLDEST_SAVE_SECONDS.set(report.oldest_save_seconds)
            metrics.OLDEST_PROOF_SECONDS.set(report.oldest_proof_seconds)
            metrics.TROUBLED_SERVERS.set(report.troubled_servers)
            metrics.STORE_BYTES.set(report.bytes_kept)
        except Unavailable as error:
            log.warning("saves cannot be counted", error=error.detail)
        except Exception:
            log.exception("housekeeping of jobs failed")
        await _pause(stop, HOUSE_SECONDS)


async def _dump_until(stop: asyncio.Event, dumping: Dumping, every: timedelta) -> None:
    """A dump in work is broken off: it is whole or not there, and the next worker takes another."""
    work = asyncio.create_task(_keep_dumping(dumping, every))
    try:
        await stop.wait()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _keep_dumping(dumping: Dumping, every: timedelta) -> None:
    while True:
        try:
            await dumping.dump_if_due(every)
            recovery, now = await dumping.claims.read(), datetime.now(UTC)
            is_ready = derive_health(recovery, every, now).state is Preparedness.READY
            dumped_at = None if recovery is None else recovery.dumped_at
            metrics.RECOVERABLE.set(is_ready)
            metrics.DUMP_AGE_SECONDS.set(0 if dumped_at is None else (now - dumped_at).total_seconds())
        except Unavailable as error:
            log.warning("whether a dump is due cannot be read", error=error.detail)
        except Exception:
            log.exception("dumping the database failed in a way that nobody foresaw")
        await asyncio.sleep(HOUSE_SECONDS)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
