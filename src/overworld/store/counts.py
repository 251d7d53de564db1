"""Numbers for the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from overworld.domain.state import State
from overworld.store.database import Transaction
from overworld.store.operations import IS_OPEN
from overworld.store.server_rows import STORED_STATE
from overworld.store.tables import operation, server, server_status


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are; ``servers`` has every state, as the controller stored it."""

    servers: Mapping[State, int]
    open_operations: int


def count_rows(tx: Transaction) -> Counts:
    """The present numbers, by two statements."""
    rows = tx.execute(
        select(STORED_STATE.label("state"), func.count().label("number"))
        .select_from(server)
        .outerjoin(server_status, server_status.c.server_id == server.c.id)
        .group_by(STORED_STATE)
    )
    seen = {State(row.state): row.number for row in rows}
    open_operations = tx.execute(select(func.count()).select_from(operation).where(IS_OPEN)).scalar_one()
    return Counts(servers={state: seen.get(state, 0) for state in State}, open_operations=open_operations)
