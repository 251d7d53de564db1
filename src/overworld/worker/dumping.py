"""Dumping the database to the save store, so that the whole installation comes back from there and a recovery key."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog

from overworld.domain.errors import Conflict, SaveError, SaveStoreRefused, Unavailable
from overworld.domain.recovery import Claim, Recovery
from overworld.saves import dump_marks
from overworld.saves.base import SaveResult, Snapshot
from overworld.saves.installation import INSTALLATION, InstallationStore
from overworld.saves.locations import StoreLocation
from overworld.saves.recovery_key import new_recovery_key
from overworld.saves.secrets import Keyring, new_password
from overworld.store import dumps
from overworld.store import recovery as rows
from overworld.store.database import Database
from overworld.worker.alone import alone
from overworld.worker.claims import Claims
from overworld.worker.facts import DATABASE_FILE, FILE_NAME, Facts
from overworld.worker.metrics import DUMPS

LEASE = "recovery"
SOON = timedelta(minutes=1)
TRY_AGAIN_SECONDS = 60.0
PRUNE_EVERY = timedelta(days=1)
CHECK_PARTS = 12

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Dumped:
    """A dump that is in the store."""

    result: SaveResult
    at: datetime


class Dumping:
    """The dumps of one installation. ``read_facts`` may block; ``holder`` is new for every start of a process."""

    def __init__(
        self,
        database: Database,
        store: InstallationStore,
        location: StoreLocation,
        keyring: Keyring,
        read_facts: Callable[[], Facts],
        *,
        holder: str,
    ) -> None:
        self.claims = Claims(database, store, location, keyring)
        self._database = database
        self._store = store
        self._keyring = keyring
        self._read_facts = read_facts
        self._holder = holder
        self._tried_at: float | None = None

    async def dump_if_due(self, every: timedelta) -> Dumped | None:
        """A dump, if the last one is ``every`` old or misses a new repository's password, and no other worker is at it;
        else None. What goes wrong is stored and logged, and tried again after a minute. Raises Unavailable where the
        database does not answer."""
        recovery = await self.claims.read()
        if recovery is None or recovery.key_made_at is None or recovery.fence:
            return None
        if not await asyncio.to_thread(self._is_due, recovery, every):
            return None
        if self._tried_at is not None and monotonic() - self._tried_at < TRY_AGAIN_SECONDS:
            return None
        self._tried_at = monotonic()
        try:
            dumped = await self.dump()
        except Conflict:
            return None
        except (SaveError, Unavailable) as error:
            DUMPS.labels("failed").inc()
            log.warning("the database was not dumped to the save store", error=error.detail)
            await self.claims.write(problem=error.detail)
            return None
        self._tried_at = None
        return dumped

    def _is_due(self, recovery: Recovery, every: timedelta) -> bool:
        """Soon, too, when a server was saved for the first time: only the database has the password of its saves."""
        if recovery.dumped_at is None:
            return True
        age = datetime.now(UTC) - recovery.dumped_at
        if age >= every or age < SOON:
            return age >= every
        with self._database.transaction() as tx:
            return rows.has_new_repository(tx, recovery.dumped_at)

    async def dump(self) -> Dumped:
        """A dump is in the store, with the facts that belong to it, and what nothing keeps any more is not. Raises
        Conflict while another worker is at it, SaveStoreRefused if the installation lives elsewhere, what the store
        raises, and Unavailable."""
        async with alone(self._database, LEASE, self._holder):
            recovery = await self._row()
            self.claims.raise_if_fenced(recovery)
            repository = self.claims.repository(recovery)
            snapshots = await self.claims.look(recovery)
            facts = await asyncio.to_thread(self._read_facts)
            if dump_marks.find_facts(snapshots, facts.digest) is None:
                tags = dump_marks.facts_tags(facts.digest)
                await self._store.save_bytes(repository, FILE_NAME, facts.format(), tags=tags, holds_lease=True)
            began = datetime.now(UTC)
            program = await asyncio.to_thread(dumps.dump_program, self._database.url)
            tags = dump_marks.database_tags(recovery.claim, facts.digest)
            result = await self._store.save_output(repository, DATABASE_FILE, program, tags=tags, holds_lease=True)
            await self.claims.write(
                dumped_at=began,
                dump_bytes=result.bytes_total,
                dump_new_bytes=result.bytes_new,
                dump_seconds=result.seconds,
                problem="",
            )
            DUMPS.labels("succeeded").inc()
            await self._tidy(recovery, snapshots, facts.digest)
            return Dumped(result, began)

    async def _tidy(self, recovery: Recovery, snapshots: tuple[Snapshot, ...], digest: str) -> None:
        """Of what was there before this dump. It is in the store already: what goes wrong here is for the next one."""
        repository = self.claims.repository(recovery)
        now = datetime.now(UTC)
        try:
            await self._store.forget(repository, dump_marks.snapshots_to_forget(snapshots, digest), holds_lease=True)
            if recovery.pruned_at is None or now - recovery.pruned_at > PRUNE_EVERY:
                await self._store.prune(repository, holds_lease=True)
                part = (recovery.prunes % CHECK_PARTS + 1, CHECK_PARTS)
                await self._store.check(repository, subset=part, holds_lease=True)
                await self.claims.write(pruned_at=now, prunes=recovery.prunes + 1)
        except SaveError as error:
            log.warning("old dumps of the database stay", error=error.detail)
            await self.claims.write(problem=error.detail)

    async def make_recovery_key(self) -> str:
        """A new recovery key, the only one that opens the dumps from now on; it is kept nowhere. Where there is no
        repository (any more) one is made: a person asked for it. Safe to repeat, each time with another key. Raises
        Conflict where the save store has another installation already, SaveStoreRefused if this one lives elsewhere,
        and as ``dump`` does."""
        async with alone(self._database, LEASE, self._holder):
            recovery = await asyncio.to_thread(self._ensure_row)
            self.claims.raise_if_fenced(recovery)
            repository = self.claims.repository(recovery)
            try:
                await self._store.ensure_repository(repository, may_make=True)
            except SaveStoreRefused as error:
                if error.reason != "WrongPassword":
                    raise
                raise Conflict(
                    "The save store has another installation already. Bring that one back with `overworld recover`, or"
                    " give this one a folder or prefix of its own (OVERWORLD_SAVE_STORE)."
                ) from error
            await self.claims.look(recovery)
            key = new_recovery_key()
            await self._store.replace_recovery_key(repository, key)
            await self.claims.write(key_made_at=datetime.now(UTC))
            return key

    async def claim(self) -> Claim:
        """The installation lives here, whoever claimed it before. The caller knows that nobody else is at work."""
        async with alone(self._database, LEASE, self._holder):
            recovery = await self._row()
            repository = self.claims.repository(recovery)
            newest = dump_marks.newest_claim(await self._store.snapshots(repository))
            claim = next_claim(None if newest is None else newest[0])
            tags = dump_marks.claim_tags(claim)
            await self._store.save_bytes(repository, FILE_NAME, b"{}", tags=tags, holds_lease=True)
            await self.claims.write(epoch=claim.epoch, token=claim.token, fence="")
            return claim

    def _ensure_row(self) -> Recovery:
        wrapped = self._keyring.wrap(new_password(), INSTALLATION)
        with self._database.transaction() as tx:
            return rows.insert_recovery(tx, Recovery(next_claim(None), wrapped.key_id, wrapped.text))

    async def _row(self) -> Recovery:
        recovery = await self.claims.read()
        if recovery is None or recovery.key_made_at is None:
            raise SaveStoreRefused("NoRecoveryKey", "There is no recovery key: run `overworld recovery create-key`.")
        return recovery


def next_claim(present: Claim | None) -> Claim:
    """One that is greater than any that there is."""
    return Claim(1 if present is None else present.epoch + 1, secrets.token_hex(8))
