"""The trace of a wish: its operation, its event, and the end of the operations that it outdates."""

from __future__ import annotations

from datetime import datetime

from overworld.domain.accounts import Actor
from overworld.domain.events import NewEvent
from overworld.domain.operations import Operation, OperationKind
from overworld.domain.servers import Server
from overworld.store import events, operations
from overworld.store.database import Transaction
from overworld.store.ids import new_id

_PHRASES = {
    OperationKind.CREATE: ("Created", "created the server"),
    OperationKind.START: ("StartAsked", "asked for a start"),
    OperationKind.STOP: ("StopAsked", "asked for a stop"),
    OperationKind.RESTART: ("RestartAsked", "asked for a restart"),
    OperationKind.DELETE: ("DeleteAsked", "deleted the server"),
    OperationKind.UNDELETE: ("UndeleteAsked", "undeleted the server"),
    OperationKind.UNDO: ("UndoAsked", "asked to undo a restore"),
}


def record_intent(tx: Transaction, actor: Actor, server: Server, kind: OperationKind, now: datetime) -> Operation:
    """Open the operation for the wish that ``server`` now holds; older open ones of the same server are aborted."""
    if kind is not OperationKind.CREATE:
        operations.abort_open_operations(tx, server.id, f"A newer wish took its place: {kind}.", now)
    operation = Operation(
        id=new_id(),
        server_id=server.id,
        account_id=server.account_id,
        kind=kind,
        generation=server.generation,
        created_at=now,
    )
    operations.insert_operation(tx, operation)
    reason, phrase = _PHRASES[kind]
    events.insert_events(tx, [NewEvent(server.id, reason, f"{actor.name} {phrase}.")], now)
    return operation
