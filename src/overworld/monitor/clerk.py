"""The monitor's side of the database: its lease, the list of servers, and the writing of batches. Synchronous."""

from __future__ import annotations

from datetime import datetime, timedelta

from overworld.monitor.books import Batch
from overworld.store.activity import RunningServer, list_running, write_activities
from overworld.store.database import Database
from overworld.store.lease import Lease, acquire, release, renew
from overworld.store.usage import add_running_time, add_samples, thin

LEASE = "monitor"
LEASE_TTL = timedelta(seconds=15)


class Clerk:
    """Reads and writes for one monitor; call it on one thread at a time. Every method may raise Unavailable.

    Each write renews the lease in its own transaction, which locks the lease's row: of two monitors that both believe
    to be the active one, only one can commit what it counted, so that nothing is charged twice.
    """

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder
        self._lease: Lease | None = None

    def hold_lease(self) -> int | None:
        """The epoch under which this monitor is the active one: keeps the lease, or takes it if it is free. None if
        another one is. Another epoch than before means that somebody else may have counted in between."""
        with self._database.transaction() as tx:
            if self._lease is None or not renew(tx, self._lease, LEASE_TTL):
                self._lease = acquire(tx, LEASE, self._holder, LEASE_TTL)
        return self._lease.epoch if self._lease is not None else None

    def list_servers(self) -> list[RunningServer]:
        """Every server that is worth a look."""
        with self._database.transaction() as tx:
            return list_running(tx)

    def write(self, batch: Batch) -> bool:
        """Write all of it, or nothing and return False because another monitor is the active one now."""
        with self._database.transaction() as tx:
            if self._lease is None or not renew(tx, self._lease, LEASE_TTL):
                self._lease = None
                return False
            write_activities(tx, batch.rows)
            add_samples(tx, batch.samples)
            add_running_time(tx, batch.times)
            return True

    def thin_history(self, now: datetime) -> bool:
        """Move a part of the old history to coarser steps. Whether there is more to do."""
        with self._database.transaction() as tx:
            return thin(tx, now) > 0

    def give_up_lease(self) -> None:
        """Let a standby take over at once. Safe without a lease."""
        if self._lease is not None:
            with self._database.transaction() as tx:
                release(tx, self._lease)
            self._lease = None
