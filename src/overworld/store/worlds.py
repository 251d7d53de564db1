"""Generations of worlds: which are kept for undo, and which number was given last."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.servers import ServerId
from overworld.store.database import Transaction
from overworld.store.tables import retired_world, server


def retire(tx: Transaction, server_id: ServerId, generation: int, keep_until: datetime) -> None:
    """Keep that generation until then; the controller removes it afterwards. Safe to repeat with another time."""
    offered = insert(retired_world).values(server_id=server_id, generation=generation, keep_until=keep_until)
    tx.execute(
        offered.on_conflict_do_update(
            index_elements=[retired_world.c.server_id, retired_world.c.generation],
            set_={"keep_until": offered.excluded.keep_until},
        )
    )


def unretire(tx: Transaction, server_id: ServerId, generation: int) -> None:
    """Forget that it was to be removed: it is the present one, or it is gone. Safe to repeat."""
    tx.execute(
        delete(retired_world).where(retired_world.c.server_id == server_id, retired_world.c.generation == generation)
    )


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
