"""The saves of servers that are gone: kept for the installation's time, then removed from the store."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from overworld.domain.errors import OverworldError
from overworld.domain.operations import Operation, OperationKind
from overworld.store import save_keys, saves, world_leases
from overworld.store.database import Transaction
from overworld.store.save_keys import SaveKey
from overworld.worker.job import LEASE, Job, kept_alive
from overworld.worker.terms import Tools

AT_ONCE = 5

log = structlog.get_logger(__name__)


async def remove_orphans(tools: Tools, holder: str, keep_for: timedelta, *, at_most: int) -> int:
    """Remove what is due of the saves of purged servers; how many servers. What fails is logged, stays, and is tried
    again. Safe to run in several workers: the lease on the world keeps them apart. Raises Unavailable."""

    def look() -> list[SaveKey]:
        with tools.database.transaction() as tx:
            now = datetime.now(UTC)
            save_keys.mark_orphans(tx, now + keep_for)
            return save_keys.due_orphans(tx, now, limit=AT_ONCE)

    removed = 0
    for key in await asyncio.to_thread(look):
        job = await asyncio.to_thread(_begin, tools, holder, key, at_most)
        if job is None:
            continue
        try:
            async with kept_alive(job):
                await _remove(tools, job)
            removed += 1
        except OverworldError as error:
            log.warning("saves of a purged server stay", server_id=key.server_id, error=error.detail)
        finally:
            await asyncio.shield(asyncio.to_thread(_release, tools, job))
    return removed


async def _remove(tools: Tools, job: Job) -> None:
    await tools.claims.check()
    repository = await tools.repositories.find(job.server_id)
    snapshots = await tools.store.snapshots(repository)
    if snapshots:
        await tools.store.forget(repository, [each.snapshot_id for each in snapshots], holds_lease=True)
        await tools.store.prune(repository, waste_percent=0, holds_lease=True)

    def forget(tx: Transaction) -> None:
        kept = saves.kept_saves(tx, job.server_id)
        saves.mark_gone(tx, [each.id for each in kept], datetime.now(UTC))
        save_keys.delete_key(tx, job.server_id)

    await job.write(forget)
    log.info("the saves of a purged server are removed", server_id=job.server_id, snapshots=len(snapshots))


def _begin(tools: Tools, holder: str, key: SaveKey, at_most: int) -> Job | None:
    operation = Operation(
        id=f"removal of {key.server_id}",
        server_id=key.server_id,
        account_id="",
        kind=OperationKind.FORGET,
        generation=0,
        created_at=datetime.now(UTC),
    )
    with tools.database.transaction() as tx:
        lease = world_leases.acquire(tx, key.server_id, operation.id, holder, LEASE, at_most=at_most)
    return None if isinstance(lease, world_leases.Busy) else Job(tools.database, operation, lease)


def _release(tools: Tools, job: Job) -> None:
    with tools.database.transaction() as tx:
        world_leases.release(tx, job.lease)
