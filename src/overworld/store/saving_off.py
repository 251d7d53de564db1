"""Games that were told not to write: written down before they are told, removed after they were told to go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.servers import ServerId
from overworld.store.codecs import read_time
from overworld.store.database import Transaction
from overworld.store.save_tables import saving_off, world_lease
from overworld.store.tables import server


@dataclass(frozen=True, slots=True)
class Off:
    """One game that does not write, for all that is known."""

    server_id: ServerId
    operation_id: str
    game: str
    since: datetime


def write(tx: Transaction, server_id: ServerId, operation_id: str, now: datetime) -> None:
    """Remember it, for that job now."""
    offered = insert(saving_off).values(server_id=server_id, operation_id=operation_id, since=now)
    tx.execute(
        offered.on_conflict_do_update(
            index_elements=[saving_off.c.server_id], set_={"operation_id": operation_id, "since": now}
        )
    )


def remove(tx: Transaction, server_id: ServerId, operation_id: str) -> None:
    """Forget it, unless another job has written it since."""
    tx.execute(delete(saving_off).where(saving_off.c.server_id == server_id, saving_off.c.operation_id == operation_id))


def abandoned(tx: Transaction) -> list[Off]:
    """Those whose job does not hold its world any more."""
    is_held = (
        select(1)
        .where(
            world_lease.c.server_id == saving_off.c.server_id,
            world_lease.c.operation_id == saving_off.c.operation_id,
            world_lease.c.expires_at > func.clock_timestamp(),
        )
        .exists()
    )
    rows = tx.execute(
        select(saving_off, server.c.game).join(server, server.c.id == saving_off.c.server_id).where(~is_held)
    )
    return [Off(row.server_id, row.operation_id, row.game, read_time(row.since)) for row in rows]
