"""Where each server's saves are, and the password that opens them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from overworld.domain.errors import NotFound
from overworld.domain.servers import ServerId
from overworld.saves.base import Repository
from overworld.saves.installation import INSTALLATION
from overworld.saves.locations import StoreLocation
from overworld.saves.secrets import Keyring, Wrapped, new_password
from overworld.store import recovery, save_keys
from overworld.store.database import Database, Transaction
from overworld.store.save_keys import SaveKey
from overworld.worker.job import Job


class Repositories:
    """The repositories of one store. Passwords are in memory only while they are used."""

    def __init__(self, database: Database, location: StoreLocation, keyring: Keyring) -> None:
        self._database = database
        self._location = location
        self._keyring = keyring

    async def find(self, server_id: ServerId) -> Repository:
        """The repository of a server that has saves, to read. Raises NotFound, SaveStoreRefused, Unavailable."""

        def read() -> SaveKey | None:
            with self._database.transaction() as tx:
                return save_keys.find_key(tx, server_id)

        key = await asyncio.to_thread(read)
        if key is None:
            raise NotFound("The server never had a save.")
        return self._open(key)

    async def to_write(self, job: Job, account_id: str) -> tuple[Repository, bool]:
        """The repository of the job's server, and whether it may be made: only if nothing was ever in it. The password
        is stored before anything is locked with it."""

        def prepare(tx: Transaction) -> tuple[SaveKey, bool]:
            key = save_keys.find_key(tx, job.server_id)
            if key is None:
                wrapped = self._keyring.wrap(new_password(), job.server_id)
                new = SaveKey(job.server_id, wrapped.key_id, wrapped.text)
                key = save_keys.insert_key(tx, new, account_id, datetime.now(UTC))
            return key, not save_keys.has_snapshots(tx, job.server_id)

        key, may_make = await job.write(prepare)
        return self._open(key), may_make

    def rewrap(self, tx: Transaction, *, limit: int) -> int:
        """Passwords that an older key locks are locked by the one in use; how many. Nothing in the store changes."""
        found = save_keys.wrapped_by_others(tx, self._keyring.keys[0].key_id, limit=limit)
        for key in found:
            wrapped = self._keyring.rewrap(Wrapped(key.key_id, key.wrapped), key.server_id)
            save_keys.replace_wrapping(tx, SaveKey(key.server_id, wrapped.key_id, wrapped.text))
        return len(found) + self._rewrap_own(tx)

    def _rewrap_own(self, tx: Transaction) -> int:
        """The same for the installation's own repository."""
        own = recovery.find_recovery(tx)
        if own is None or own.key_id == self._keyring.keys[0].key_id:
            return 0
        wrapped = self._keyring.rewrap(Wrapped(own.key_id, own.wrapped), INSTALLATION)
        recovery.write_recovery(tx, {"key_id": wrapped.key_id, "wrapped": wrapped.text})
        return 1

    def _open(self, key: SaveKey) -> Repository:
        password = self._keyring.unwrap(Wrapped(key.key_id, key.wrapped), key.server_id)
        return self._location.repository(key.server_id, password)
