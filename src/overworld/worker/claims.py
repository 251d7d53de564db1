"""Whether this installation may still write to its saves: after a recovery elsewhere it must not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic

import structlog

from overworld.domain.errors import SaveStoreRefused
from overworld.domain.recovery import Recovery
from overworld.saves import dump_marks
from overworld.saves.base import Repository, SaveStore, Snapshot
from overworld.saves.installation import INSTALLATION
from overworld.saves.locations import StoreLocation
from overworld.saves.secrets import Keyring, Wrapped
from overworld.store import recovery as rows
from overworld.store.database import Database

BELIEVED_FOR = timedelta(minutes=5)

log = structlog.get_logger(__name__)


class Claims:
    """The claims on one installation. Two of them must never prune one repository at once, each taking the other's
    locks for those of a dead one: what they would remove is what the other relies on."""

    def __init__(self, database: Database, store: SaveStore, location: StoreLocation, keyring: Keyring) -> None:
        self._database = database
        self._store = store
        self._location = location
        self._keyring = keyring
        self._looked_at: float | None = None

    async def check(self) -> None:
        """Raises SaveStoreRefused (``TakenOver``) if the installation lives elsewhere, and what the store raises; asks
        the store at most every 5 minutes, and not at all before there is a recovery key."""
        recovery = await self.read()
        if recovery is None:
            return
        self.raise_if_fenced(recovery)
        believed = self._looked_at is not None and monotonic() - self._looked_at < BELIEVED_FOR.total_seconds()
        if recovery.key_made_at is not None and not believed:
            await self.look(recovery)

    async def look(self, recovery: Recovery) -> tuple[Snapshot, ...]:
        """What is in the installation's repository. Raises as ``check`` does, with the fence stored."""
        try:
            snapshots = await self._store.snapshots(self.repository(recovery))
        except SaveStoreRefused as error:
            if error.reason != "NoRepository":
                raise
            raise SaveStoreRefused(
                "NoInstallation",
                "The installation's own repository is not in the save store: give Overworld the right store, or bring"
                " it back. If this one is meant, `overworld recovery rotate-key` begins a new repository there.",
            ) from error
        newest = dump_marks.newest_claim(snapshots)
        if newest is not None and newest[0] > recovery.claim:
            fence = (
                f"This installation was recovered on another machine ({newest[1]:%Y-%m-%d %H:%M} UTC): here it writes"
                " nothing to its saves any more. Turn it off; or, if the other one is gone, `overworld recovery claim`."
            )
            log.error("the installation was recovered elsewhere", epoch=newest[0].epoch)
            await self.write(fence=fence)
            raise SaveStoreRefused("TakenOver", fence)
        self._looked_at = monotonic()
        return snapshots

    def repository(self, recovery: Recovery) -> Repository:
        """The installation's own. Raises SaveStoreRefused if our keys do not open its password."""
        password = self._keyring.unwrap(Wrapped(recovery.key_id, recovery.wrapped), INSTALLATION)
        return self._location.repository(INSTALLATION, password)

    def raise_if_fenced(self, recovery: Recovery) -> None:
        """Raises SaveStoreRefused (``TakenOver``) if that is known already."""
        if recovery.fence:
            raise SaveStoreRefused("TakenOver", recovery.fence)

    async def read(self) -> Recovery | None:
        """The row."""

        def run() -> Recovery | None:
            with self._database.transaction() as tx:
                return rows.find_recovery(tx)

        return await asyncio.to_thread(run)

    async def write(self, **values: object) -> None:
        """Change it."""

        def run() -> None:
            with self._database.transaction() as tx:
                rows.write_recovery(tx, values)

        await asyncio.to_thread(run)
