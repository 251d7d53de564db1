"""Events: what changed between two looks at a server, for its owner. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from overworld.domain.conditions import SHORTCOMINGS, Condition, ConditionType, Reason, Truth, find_condition
from overworld.domain.events import Level, NewEvent
from overworld.domain.servers import ServerId

_TOLD_OF_READY = {
    Reason.ANSWERING: Level.INFO,
    Reason.STOPPED: Level.INFO,
    Reason.CRASHED: Level.WARNING,
    Reason.OUT_OF_MEMORY: Level.WARNING,
    Reason.NOT_READY_IN_TIME: Level.WARNING,
    Reason.NODE_LOST: Level.WARNING,
}
_REPEATS = {Reason.CRASHED, Reason.OUT_OF_MEMORY}
"""Another crash is news, though the condition stays the same."""
_MOVES = _REPEATS | {Reason.NODE_LOST}
"""So is each step of finding out what became of a node."""


def derive_events(server_id: ServerId, old: Iterable[Condition], new: Iterable[Condition]) -> tuple[NewEvent, ...]:
    """The events of the way from the old conditions to the new ones; none where they say the same."""
    old, new = tuple(old), tuple(new)
    return tuple(
        NewEvent(server_id, reason=condition.reason, message=condition.message, level=level)
        for condition, level in _tell(old, new)
    )


def _tell(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> Iterator[tuple[Condition, Level]]:
    for condition in new:
        before = find_condition(old, condition.type)
        has_turned = before is None or (before.status, before.reason) != (condition.status, condition.reason)
        has_moved = has_turned or (before is not None and before.message != condition.message)
        match condition.type:
            case ConditionType.PLACED if has_turned and condition.status is not Truth.UNKNOWN:
                is_good = condition.is_true and condition.reason not in SHORTCOMINGS
                yield condition, Level.INFO if is_good else Level.WARNING
            case ConditionType.PLACED if has_turned and condition.reason == Reason.ENGINE_UNAVAILABLE:
                yield condition, Level.WARNING
            case ConditionType.ADDRESSED if has_moved and (
                condition.is_true or condition.reason == Reason.ADDRESS_WRONG
            ):
                yield condition, Level.INFO if condition.is_true else Level.WARNING
            case ConditionType.READY if condition.reason in _TOLD_OF_READY:
                is_first_sight = before is None and condition.reason == Reason.STOPPED
                if not is_first_sight and (has_turned or (has_moved and condition.reason in _MOVES)):
                    yield condition, _TOLD_OF_READY[Reason(condition.reason)]
            case ConditionType.SAVED if has_moved and _tells_of_stop(condition, new):
                yield condition, Level.INFO if condition.is_true else Level.WARNING
            case ConditionType.CURRENT if has_turned and condition.status is Truth.FALSE:
                yield condition, Level.INFO


def _tells_of_stop(saved: Condition, new: tuple[Condition, ...]) -> bool:
    """A save that was not seen because of a crash is told by the crash."""
    ready = find_condition(new, ConditionType.READY)
    is_crash = ready is not None and ready.reason in _REPEATS
    return saved.reason != Reason.NEVER_STOPPED and not is_crash
