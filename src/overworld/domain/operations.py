"""An operation: the handle of something long. Only its verdict is stored; progress is derived from what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from overworld.domain.conditions import Condition, ConditionType, Reason, Truth, find_condition
from overworld.domain.servers import Desired, Server, ServerId, Status


class OperationKind(StrEnum):
    """What was asked for."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DELETE = "delete"
    UNDELETE = "undelete"
    UNDO = "undo"  # of a restore: back to the world before it
    SAVE = "save"
    RESTORE = "restore"
    CLONE = "clone"
    CHECK = "check"  # of everything that the store holds of a server
    DRILL = "drill"  # a real restore to scratch, compared
    FORGET = "forget"  # a save removed from the store
    UPLOAD = "upload"  # an archive that somebody sent, made a save


JOBS = frozenset(
    {
        OperationKind.SAVE,
        OperationKind.RESTORE,
        OperationKind.CLONE,
        OperationKind.CHECK,
        OperationKind.DRILL,
        OperationKind.FORGET,
        OperationKind.UPLOAD,
    }
)
"""Worked on by a worker, which also ends them. All others are wishes: the controller tells when they are fulfilled,
and a newer one takes their place."""


class Outcome(StrEnum):
    """How an operation ended. ``running`` is never stored."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"  # a newer wish took its place
    CANCELLED = "cancelled"  # its owner called it off


@dataclass(frozen=True, slots=True)
class Operation:
    """One asked-for change of one server. A wish is done when the controller has observed ``generation`` and the
    condition that it waits for has settled, a job (``JOBS``) when its worker says so. ``message`` is the sentence that
    explains the outcome.

    ``arguments`` is all that a worker needs to go on with a job after the one before it died; ``attempts`` counts how
    often one began; ``progress`` is what the last one said.
    """

    id: str
    server_id: ServerId
    account_id: str
    kind: OperationKind
    generation: int
    created_at: datetime
    outcome: Outcome = Outcome.RUNNING
    reason: str = ""
    message: str = ""
    ended_at: datetime | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    attempts: int = 0
    cancel_asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of an operation."""

    outcome: Outcome
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is: ``done`` of ``of`` steps, and a sentence on what it waits for."""

    done: int
    of: int
    message: str


CANCELLABLE = frozenset({OperationKind.CREATE, OperationKind.START}) | JOBS
"""A stop that was sent to the game cannot be called back; a start can, and so can what a worker does."""


def derive_verdict(operation: Operation, server: Server, status: Status) -> Verdict | None:
    """The verdict on an open operation, or None while it still has to wait.

    Only conditions seen under the operation's own generation count, so that the "running" of before a restart is not
    mistaken for the one after it.
    """
    if operation.kind in JOBS:
        return None
    verdict = derive_fulfilment(operation, server, status)
    if verdict is None or operation.kind is not OperationKind.UNDO or verdict.outcome is not Outcome.SUCCEEDED:
        return verdict
    return replace(verdict, message=f"The earlier world is back in place. {verdict.message}")


def derive_fulfilment(operation: Operation, server: Server, status: Status) -> Verdict | None:
    """The same for any kind: a restore, too, ends when the server is again what it was, on its new world."""
    ready = find_condition(status.conditions, ConditionType.READY)
    if status.observed_generation < operation.generation or ready is None:
        return None
    if ready.observed_generation < operation.generation:
        return None
    if server.desired is Desired.RUNNING:
        return _verdict_on_running(status, ready)
    return _verdict_on_stopped(operation, status, ready)


def _verdict_on_running(status: Status, ready: Condition) -> Verdict | None:
    current = find_condition(status.conditions, ConditionType.CURRENT)
    if ready.is_true and (current is None or current.status is not Truth.UNKNOWN):
        return Verdict(Outcome.SUCCEEDED, ready.reason, ready.message)
    if ready.reason in {Reason.CRASHED, Reason.OUT_OF_MEMORY, Reason.NOT_READY_IN_TIME, Reason.BLOCKED}:
        return Verdict(Outcome.FAILED, ready.reason, ready.message)
    placed = find_condition(status.conditions, ConditionType.PLACED)
    if placed is not None and placed.status is Truth.FALSE:
        # What ran before still runs, but a restart cannot be carried out: the game left the catalogue, say.
        return Verdict(Outcome.FAILED, placed.reason, placed.message)
    return None


def _verdict_on_stopped(operation: Operation, status: Status, ready: Condition) -> Verdict | None:
    placed = find_condition(status.conditions, ConditionType.PLACED)
    if ready.reason == Reason.STOPPED:
        if operation.kind is OperationKind.CREATE and placed is not None and not placed.is_true:
            return Verdict(Outcome.FAILED, placed.reason, placed.message) if placed.status is Truth.FALSE else None
        saved = find_condition(status.conditions, ConditionType.SAVED)
        tells_of_save = operation.kind not in {OperationKind.CREATE, OperationKind.UNDO}
        message = saved.message if saved is not None and tells_of_save else ready.message
        return Verdict(Outcome.SUCCEEDED, ready.reason, message)
    return None


def derive_progress(operation: Operation, status: Status) -> Progress:
    """How far an open operation is, for people: accepted, seen by the controller, in place, settled."""
    steps = 4
    if operation.outcome is not Outcome.RUNNING:
        steps = operation.progress.of if operation.progress is not None else steps
        return Progress(steps, steps, operation.message)
    if operation.kind in JOBS:
        return operation.progress or Progress(0, steps, "Waiting for a worker.")
    if status.observed_generation < operation.generation:
        return Progress(1, steps, "Accepted; the controller has not looked at it yet.")
    placed = find_condition(status.conditions, ConditionType.PLACED)
    ready = find_condition(status.conditions, ConditionType.READY)
    if placed is not None and not placed.is_true:
        return Progress(2, steps, placed.message)
    return Progress(3, steps, ready.message if ready is not None else "In place; waiting for the game.")
