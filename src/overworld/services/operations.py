"""Calling off an operation."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from overworld.domain.accounts import Actor
from overworld.domain.errors import Conflict, NotFound
from overworld.domain.events import NewEvent
from overworld.domain.operations import CANCELLABLE, JOBS, Operation, Outcome, Verdict
from overworld.domain.servers import Desired
from overworld.store import events, jobs, operations, servers
from overworld.store.database import Transaction


def cancel(tx: Transaction, actor: Actor, operation_id: str, now: datetime) -> Operation:
    """The operation called off. Of a create or a start that has not ended the server is wanted stopped; what a worker
    does ends at once while it waits, else as soon as the worker can let go of it (its outcome tells). Everything else
    is a Conflict that says why. Raises NotFound."""
    operation = operations.find_operation(tx, operation_id, actor.scope)
    if operation is None:
        raise NotFound("There is no such operation.")
    # The server's lock comes first, as for every wish; the controller's verdict may have come meanwhile.
    view = servers.lock_server(tx, operation.server_id, actor.scope)
    operation = operations.find_operation(tx, operation_id, actor.scope) or operation
    if operation.outcome is not Outcome.RUNNING:
        raise Conflict(f"The operation has ended already: {operation.outcome}.")
    if operation.kind not in CANCELLABLE:
        raise Conflict(
            f"A {operation.kind} cannot be called off once it was asked for; only a create, a start or a job can."
        )
    if view is None or view.server.id != operation.server_id:
        raise Conflict("The server is gone.")
    if operation.kind in JOBS:
        return _cancel_job(tx, actor, operation, now)
    verdict = Verdict(Outcome.CANCELLED, "Cancelled", f"{actor.name} called it off; the server is stopped.")
    ended = operations.end_operation(tx, operation.id, verdict, now)
    if ended is None:
        raise Conflict("The operation has ended already.")
    if view.server.desired is Desired.RUNNING:
        generation = view.server.generation + 1
        wished = replace(
            view.server,
            desired=Desired.STOPPED,
            generation=generation,
            desired_generation=generation,
            updated_at=now,
        )
        servers.update_server(tx, wished, expected_generation=view.server.generation)
    message = f"{actor.name} called off the {operation.kind}."
    events.insert_events(tx, [NewEvent(operation.server_id, "Cancelled", message)], now)
    return ended


def _cancel_job(tx: Transaction, actor: Actor, operation: Operation, now: datetime) -> Operation:
    if operation.arguments.get("swapped"):
        raise Conflict("The restored world is in place already. Undo the restore instead.")
    message = f"{actor.name} called off the {operation.kind}."
    if operation.attempts:  # it may have to tidy up
        jobs.ask_to_cancel(tx, operation.id, now)
        jobs.enqueue(tx, operation.id)
        return replace(operation, cancel_asked_at=now)
    ended = operations.end_operation(tx, operation.id, Verdict(Outcome.CANCELLED, "Cancelled", message), now)
    if ended is None:
        raise Conflict("The operation has ended already.")
    events.insert_events(tx, [NewEvent(operation.server_id, "Cancelled", message)], now)
    return ended
