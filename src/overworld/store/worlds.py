"""Generations of worlds: which are kept for undo, and which number was given last."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.servers import ServerId
from overworld.store.database import Transaction
from overworld.store.tables import retired_world, server


def retire(
    tx: Transaction, server_id: ServerId, generation: int, keep_until: datetime, *, is_incoming: bool = False
) -> None:
    """Keep that generation until then; the controller removes it afterwards. Safe to repeat with another time.
    ``is_incoming``: it is no earlier world that one could go back to."""
    values = {"keep_until": keep_until, "is_incoming": is_incoming}
    offered = insert(retired_world).values(server_id=server_id, generation=generation, **values)
    tx.execute(
        offered.on_conflict_do_update(
            index_elements=[retired_world.c.server_id, retired_world.c.generation], set_=values
        )
    )


def unretire(tx: Transaction, server_id: ServerId, generation: int) -> None:
    """Forget that it was to be removed: it is the present one, or it is gone. Safe to repeat."""
    tx.execute(
        delete(retired_world).where(retired_world.c.server_id == server_id, retired_world.c.generation == generation)
    )


def abandoned(tx: Transaction, now: datetime, *, limit: int) -> list[tuple[ServerId, int, int]]:
    """Generations that a worker was to make something of and that have become nothing in their time: the server's id,
    its number, and the generation. The present one is never among them."""
    found = (
        select(server.c.id, server.c.number, retired_world.c.generation)
        .join(server, server.c.id == retired_world.c.server_id)
        .where(retired_world.c.is_incoming, retired_world.c.keep_until <= now)
        .where(retired_world.c.generation != server.c.world_generation)
    )
    return [(row.id, row.number, row.generation) for row in tx.execute(found.limit(limit))]


def newest_generation(tx: Transaction, server_id: ServerId) -> int:
    """The greatest generation that was ever given, so that no number is given twice: 0 for a server without any."""
    found = tx.execute(select(server.c.newest_world).where(server.c.id == server_id)).scalar()
    return int(found or 0)


def remember_generation(tx: Transaction, server_id: ServerId, generation: int) -> None:
    """That one was given."""
    tx.execute(
        update(server)
        .where(server.c.id == server_id)
        .values(newest_world=func.greatest(server.c.newest_world, generation))
    )
