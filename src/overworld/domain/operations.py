"""An operation: the handle of something long. Only its verdict is stored; progress is derived from what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

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


class Outcome(StrEnum):
    """How an operation ended. ``running`` is never stored."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"  # a newer wish took its place
    CANCELLED = "cancelled"  # its owner called it off


@dataclass(frozen=True, slots=True)
class Operation:
    """One asked-for change of one server. Done when the controller has observed ``generation`` and the condition
    that it waits for has settled. ``message`` is the sentence that explains the outcome."""

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


CANCELLABLE = frozenset({OperationKind.CREATE, OperationKind.START})
"""A stop that was sent to the game cannot be called back; a start can."""


def derive_verdict(operation: Operation, server: Server, status: Status) -> Verdict | None:
    """The verdict on an open operation, or None while it still has to wait.

    Only conditions seen under the operation's own generation count, so that the "running" of before a restart is not
    mistaken for the one after it.
    """
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
        return Verdict(Outcome.SUCCEEDED, ready.reason, saved.message if saved is not None else ready.message)
    return None


def derive_progress(operation: Operation, status: Status) -> Progress:
    """How far an open operation is, for people: accepted, seen by the controller, in place, settled."""
    steps = 4
    if operation.outcome is not Outcome.RUNNING:
        return Progress(steps, steps, operation.message)
    if status.observed_generation < operation.generation:
        return Progress(1, steps, "Accepted; the controller has not looked at it yet.")
    placed = find_condition(status.conditions, ConditionType.PLACED)
    ready = find_condition(status.conditions, ConditionType.READY)
    if placed is not None and not placed.is_true:
        return Progress(2, steps, placed.message)
    return Progress(3, steps, ready.message if ready is not None else "In place; waiting for the game.")
