"""Being the only one at some work of the whole installation, for as long as a block lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from overworld.domain.errors import Conflict, Unavailable
from overworld.store import lease
from overworld.store.database import Database

LEASE = timedelta(minutes=1)
RENEW_SECONDS = 15.0


@asynccontextmanager
async def alone(database: Database, name: str, holder: str) -> AsyncIterator[None]:
    """Hold the lease of that name while the block runs. Raises Conflict while somebody else holds it; Unavailable, with
    the block cancelled, when it was lost or the database does not answer."""

    def acquire() -> lease.Lease | None:
        with database.transaction() as tx:
            return lease.acquire(tx, name, holder, LEASE)

    held = await asyncio.to_thread(acquire)
    if held is None:
        raise Conflict("Somebody else is at it already; try again in a minute.")
    block = asyncio.current_task()
    assert block is not None
    lost: list[str] = []

    def end(why: str) -> None:
        lost.append(why)
        block.cancel()

    renewing = asyncio.create_task(_renew(database, held, end), name=f"lease {name}")
    try:
        yield
    except asyncio.CancelledError:
        if not lost:
            raise
        block.uncancel()
        raise Unavailable(lost[0]) from None
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await asyncio.shield(asyncio.to_thread(_release, database, held))


async def _renew(database: Database, held: lease.Lease, end: Callable[[str], None]) -> None:
    def renew() -> bool:
        with database.transaction() as tx:
            return lease.renew(tx, held, LEASE)

    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            is_held = await asyncio.to_thread(renew)
        except Unavailable as error:
            return end(error.detail)
        if not is_held:
            return end(f"The lease {held.name!r} was lost to another worker; it is tried again.")


def _release(database: Database, held: lease.Lease) -> None:
    try:
        with database.transaction() as tx:
            lease.release(tx, held)
    except Unavailable:
        return  # it expires
