"""One attempt at one job: the lease on its world, kept alive and checked at every write, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog

from overworld.domain.errors import Unavailable
from overworld.domain.operations import Operation, Progress
from overworld.store import jobs, world_leases
from overworld.store.database import Database, Transaction
from overworld.store.lease import LeaseLost
from overworld.store.world_leases import WorldLease
from overworld.worker.threads import in_thread

T = TypeVar("T")

LEASE = timedelta(seconds=30)
HEARTBEAT_SECONDS = 1.0
RENEW_EVERY_BEATS = 5

log = structlog.get_logger(__name__)


class Called(Exception):
    """Somebody called the operation off."""


@dataclass(slots=True)
class Job:
    """The attempt as its steps see it. ``operation`` is as it was when the attempt began, but for its arguments."""

    database: Database
    operation: Operation
    lease: WorldLease
    progress: Progress = field(default_factory=lambda: Progress(0, 4, "Begun."))

    @property
    def server_id(self) -> str:
        """Whose world it is about."""
        return self.operation.server_id

    def say(self, done: int, of: int, message: str) -> None:
        """How far it is; shown within a second or two."""
        self.progress = Progress(done, of, message)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """What ``work`` does in one transaction, while the lease is held to its end. Raises LeaseLost, Unavailable."""

        def run() -> T:
            with self.database.transaction() as tx:
                world_leases.check(tx, self.lease)
                return work(tx)

        return await in_thread(run)

    async def remember(self, **arguments: object) -> None:
        """What the next attempt has to know, should this one die."""
        await self.write(lambda tx: jobs.write_arguments(tx, self.operation.id, arguments))
        self.note(**arguments)

    def note(self, **arguments: object) -> None:
        """The same where it was stored already."""
        object.__setattr__(self.operation, "arguments", {**self.operation.arguments, **arguments})

    def argument(self, name: str) -> str:
        """An argument that is a text, "" where there is none."""
        return str(self.operation.arguments.get(name) or "")


@asynccontextmanager
async def kept_alive(job: Job) -> AsyncIterator[None]:
    """Hold the lease while the block runs, and store its progress.

    The block is cancelled and LeaseLost raised when another worker took the lease, or the database could not be
    reached for as long as the lease lasts; Called when somebody calls the operation off.
    """
    ended_by: list[Exception] = []
    block = asyncio.current_task()
    assert block is not None

    def end(error: Exception) -> None:
        if not ended_by:
            ended_by.append(error)
            block.cancel()

    beating = asyncio.create_task(_beat(job, end), name=f"heartbeat of {job.operation.id}")
    try:
        yield
    except asyncio.CancelledError:
        if not ended_by:
            raise  # the whole worker ends
        block.uncancel()
        raise ended_by[0] from None
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    if ended_by:  # it came in the very moment of the end: what was done is done
        while block.cancelling():
            block.uncancel()


async def _beat(job: Job, end: Callable[[Exception], None]) -> None:
    said: Progress | None = None
    held_until = datetime.now(UTC) + LEASE
    beats = 0
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        beats += 1
        progress = job.progress
        must_renew = beats % RENEW_EVERY_BEATS == 0
        if progress == said and not must_renew:
            continue
        began = datetime.now(UTC)
        try:
            is_held, cancel_asked_at = await asyncio.to_thread(_beat_once, job, progress)
        except Unavailable as error:
            if datetime.now(UTC) > held_until:
                end(LeaseLost(f"The lease on the world of server {job.server_id} could not be kept: {error.detail}"))
                return
            continue
        if not is_held:
            end(LeaseLost(f"Another worker has taken over the world of server {job.server_id}."))
            return
        held_until = began + LEASE
        said = progress
        if cancel_asked_at is not None:
            end(Called())
            return


def _beat_once(job: Job, progress: Progress) -> tuple[bool, datetime | None]:
    with job.database.transaction() as tx:
        is_held = world_leases.renew(tx, job.lease, LEASE)
        return is_held, jobs.write_progress(tx, job.operation.id, progress) if is_held else None
