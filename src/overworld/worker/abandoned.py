"""Generations of worlds that have become nothing: of uploads that broke off, and of jobs that ended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from overworld.domain.errors import EngineError
from overworld.store import worlds
from overworld.worker.snapshots import World
from overworld.worker.terms import Tools

AT_ONCE = 20

log = structlog.get_logger(__name__)


async def remove_abandoned(tools: Tools) -> int:
    """Remove what is due of them; how many. What cannot be removed is logged, stays, and is tried again. Safe to run in
    several workers. Raises Unavailable."""

    def look() -> list[tuple[str, int, int]]:
        with tools.database.transaction() as tx:
            return worlds.abandoned(tx, datetime.now(UTC), limit=AT_ONCE)

    def forget(server_id: str, generation: int) -> None:
        with tools.database.transaction() as tx:
            worlds.unretire(tx, server_id, generation)

    removed = 0
    for server_id, number, generation in await asyncio.to_thread(look):
        try:
            await tools.snapshots.remove(World(server_id, number, generation))
        except EngineError as error:
            log.warning("a world that became nothing stays", server_id=server_id, error=error.detail)
            continue
        await asyncio.to_thread(forget, server_id, generation)
        removed += 1
    return removed
