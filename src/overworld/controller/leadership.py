"""Holding the controller's lease, and knowing when it may be held no longer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic

import structlog

from overworld.controller.metrics import IS_LEADER
from overworld.domain.errors import Unavailable
from overworld.store.database import Database
from overworld.store.lease import CONTROLLER, Lease, LeaseLost, acquire, release, renew

TTL = timedelta(seconds=15)
RENEW_SECONDS = 5.0
RENEW_AGAIN_SECONDS = 0.5
MARGIN_SECONDS = 3.0
"""Work ends this long before another controller could take over, so that engine calls do not overlap either."""

log = structlog.get_logger(__name__)


class Leadership:
    """One try to hold the lease. Measured by this machine's monotonic clock from before each renewal was sent, so that
    neither a slow database nor a clock that jumps makes it last longer than it does."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder
        self._lease: Lease | None = None
        self._ends_at = 0.0

    @property
    def epoch(self) -> int:
        """The number of this leadership. Raises ``LeaseLost`` if there is none."""
        if self._lease is None:
            raise LeaseLost("The lease is not held.")
        return self._lease.epoch

    async def acquire(self) -> bool:
        """Whether the lease is held now. Raises ``Unavailable``."""

        def run() -> Lease | None:
            with self._database.transaction() as tx:
                return acquire(tx, CONTROLLER, self._holder, TTL)

        sent_at = monotonic()
        self._lease = await asyncio.to_thread(run)
        self._ends_at = sent_at + TTL.total_seconds() - MARGIN_SECONDS
        IS_LEADER.set(0 if self._lease is None else 1)
        return self._lease is not None

    async def keep(self) -> None:
        """Renew it until cancelled. Raises ``LeaseLost`` as soon as it is lost or could be, by the time."""
        pause = RENEW_SECONDS
        while True:
            await asyncio.sleep(min(pause, max(self._ends_at - monotonic(), 0.0)))
            sent_at = monotonic()
            if sent_at >= self._ends_at:
                raise LeaseLost("The lease could not be renewed in time.")
            try:
                async with asyncio.timeout(self._ends_at - sent_at):
                    is_held = await asyncio.to_thread(self._renew)
            except Unavailable as error:
                log.warning("the lease cannot be renewed yet", error=error.detail)
                pause = RENEW_AGAIN_SECONDS
                continue
            except TimeoutError:
                continue
            if not is_held:
                raise LeaseLost("Another controller holds the lease.")
            self._ends_at = sent_at + TTL.total_seconds() - MARGIN_SECONDS
            pause = RENEW_SECONDS

    async def release(self) -> None:
        """Let the next one lead at once. If the database does not answer, the lease runs out by itself."""
        lease = self._lease
        if lease is None:
            return

        def run() -> None:
            with self._database.transaction() as tx:
                release(tx, lease)

        try:
            await asyncio.to_thread(run)
        except Unavailable as error:
            log.warning("the lease cannot be released; it runs out by itself", error=error.detail)
        self.end()

    def end(self) -> None:
        """Not a leader any more. Safe to call twice."""
        self._lease = None
        IS_LEADER.set(0)

    def _renew(self) -> bool:
        assert self._lease is not None
        with self._database.transaction() as tx:
            return renew(tx, self._lease, TTL)
