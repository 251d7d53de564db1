"""What is stored about a server after its plan was carried out, or was not. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from overworld.controller.planner import Plan
from overworld.controller.seen import IN_PLACE, is_ended
from overworld.controller.subject import Subject
from overworld.controller.transitions import derive_events
from overworld.domain.conditions import (
    SHORTCOMINGS,
    Condition,
    ConditionType,
    Reason,
    Truth,
    carry_since,
    find_condition,
)
from overworld.domain.observed import Observed
from overworld.domain.operations import Operation, derive_verdict
from overworld.domain.servers import Status
from overworld.domain.state import derive_state
from overworld.store.statuses import StatusWrite

FAILURES_BEFORE_TOLD = 5
"""With the queue's back-off about ten seconds: shorter faults are nobody's business."""


@dataclass(frozen=True, slots=True)
class Done:
    """The plan was carried out."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Somebody changed the spec in the meantime: look again."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be done until somebody acts."""

    reason: str
    message: str
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A passing fault, or one of our own; ``message`` is a sentence."""

    message: str


Outcome = Done | Overtaken | Refused | Failed


def settle(
    subject: Subject,
    plan: Plan,
    outcome: Outcome,
    observed: Observed,
    *,
    operations: tuple[Operation, ...],
    failures: int,
    now: datetime,
) -> StatusWrite | None:
    """What to write; None where everything that would be written is stored already (never for a purge).

    ``operations`` are the open ones, ``failures`` counts this failure and those in a row before it.
    """
    if plan.conditions is None or isinstance(outcome, Overtaken):
        return None
    old = subject.status
    conditions = plan.conditions
    if isinstance(outcome, Refused):
        conditions = _after_refusal(subject, conditions, outcome, observed, now)
    elif isinstance(outcome, Failed) and failures >= FAILURES_BEFORE_TOLD:
        conditions = _replaced(
            conditions,
            Condition(
                ConditionType.PLACED,
                Truth.UNKNOWN,
                Reason.ENGINE_UNAVAILABLE,
                f"{outcome.message} Overworld keeps trying; if this stays, tell the operator.",
                subject.server.generation,
                now,
            ),
        )
    new = Status(
        observed_generation=subject.server.generation,
        conditions=carry_since(conditions, old.conditions),
        endpoints=tuple(endpoint for endpoint in subject.endpoints if endpoint.host),
        updated_at=old.updated_at,
        place=observed.place,
        node=observed.node,
        world_seen=max(old.world_seen, *(observed.worlds & {subject.server.world_generation}), 0),
    )
    verdicts = tuple(
        (operation.id, verdict)
        for operation in operations
        if (verdict := derive_verdict(operation, subject.server, new)) is not None
    )
    is_last = plan.purge and isinstance(outcome, Done)
    if new == old and not verdicts and not is_last:
        return None
    events = derive_events(subject.server.id, old.conditions, new.conditions)
    return StatusWrite(
        subject.server.id, replace(new, updated_at=now), derive_state(subject.server, new), events, verdicts
    )


def _after_refusal(
    subject: Subject, conditions: tuple[Condition, ...], refused: Refused, observed: Observed, now: datetime
) -> tuple[Condition, ...]:
    generation = subject.server.generation
    if refused.reason in SHORTCOMINGS:  # the refusals after which all is in place, and runs
        placed = Condition(
            ConditionType.PLACED, Truth.TRUE, refused.reason, f"{IN_PLACE} {refused.message}", generation, now
        )
        before = find_condition(conditions, ConditionType.PLACED)
        was_so = refused.reason == Reason.CANNOT_GROW or (before is not None and before.is_true)
        return _replaced(conditions, placed) if was_so else conditions
    placed = Condition(ConditionType.PLACED, Truth.FALSE, refused.reason, refused.message, generation, now)
    conditions = _replaced(conditions, placed)
    process = observed.process
    is_restart = process is not None and process.restarts != subject.server.restarts
    if subject.wants_running and (is_ended(process) or is_restart):
        message = f"It cannot be started: {refused.message}"
        if not is_ended(process):
            message = f"It cannot be restarted, what ran before keeps running: {refused.message}"
        blocked = Condition(ConditionType.READY, Truth.FALSE, Reason.BLOCKED, message, generation, now)
        conditions = _replaced(conditions, blocked)
    return conditions


def _replaced(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    return tuple(new if condition.type is new.type else condition for condition in conditions)
