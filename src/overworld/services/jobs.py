"""Opening long work that a worker does, in the transaction that causes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from overworld.domain.errors import Conflict
from overworld.domain.events import Level, NewEvent
from overworld.domain.operations import JOBS, Operation, OperationKind
from overworld.domain.servers import Server
from overworld.store import events, jobs, operations
from overworld.store.database import Transaction
from overworld.store.ids import new_id

MOST_OPEN = 20
"""Jobs of one server that may wait: they run one after another, and nobody gains from a longer line."""


def open_job(
    tx: Transaction,
    server: Server,
    kind: OperationKind,
    arguments: Mapping[str, object],
    now: datetime,
    *,
    event: tuple[str, str] | None = None,
) -> Operation:
    """The operation of that work; a worker is told when this transaction commits. ``event`` is a reason and a sentence
    for the server's owner. Raises Conflict while too many jobs of the server wait."""
    if kind not in JOBS:
        raise ValueError(f"{kind} is a wish, not a job")
    waiting = jobs.open_jobs(tx, server.id)
    if len(waiting) >= MOST_OPEN:
        raise Conflict(f"{len(waiting)} jobs of this server wait already; try again when some of them have ended.")
    operation = Operation(
        id=new_id(),
        server_id=server.id,
        account_id=server.account_id,
        kind=kind,
        generation=server.generation,
        created_at=now,
        arguments=arguments,
    )
    operations.insert_operation(tx, operation)
    jobs.enqueue(tx, operation.id)
    if event is not None:
        reason, message = event
        events.insert_events(tx, [NewEvent(server.id, reason, message, Level.INFO)], now)
    return operation
