"""Which events an owner reads of a change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlling import BEGINNING
from overworld.controller.transitions import derive_events
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth
from overworld.domain.events import Level

TRUTHS = {
    Reason.INSTALLED: Truth.TRUE,
    Reason.INSTALLING: Truth.UNKNOWN,
    Reason.ENGINE_UNAVAILABLE: Truth.UNKNOWN,
    Reason.ANSWERING: Truth.TRUE,
    Reason.SAVE_SEEN: Truth.TRUE,
    Reason.NEVER_STOPPED: Truth.UNKNOWN,
    Reason.UP_TO_DATE: Truth.TRUE,
}


def seen(kind: ConditionType, reason: Reason, message: str = "Told.") -> Condition:
    """A condition."""
    return Condition(kind, TRUTHS.get(reason, Truth.FALSE), reason, message, 1, BEGINNING)


PLACED, READY, SAVED, CURRENT = ConditionType.PLACED, ConditionType.READY, ConditionType.SAVED, ConditionType.CURRENT


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        (None, seen(PLACED, Reason.INSTALLING), None),
        (None, seen(PLACED, Reason.INSTALLED), Level.INFO),
        (seen(PLACED, Reason.INSTALLED), seen(PLACED, Reason.DISK_FULL), Level.WARNING),
        (seen(PLACED, Reason.INSTALLED), seen(PLACED, Reason.ENGINE_UNAVAILABLE), Level.WARNING),
        (None, seen(READY, Reason.STOPPED), None),
        (seen(READY, Reason.STOPPING), seen(READY, Reason.STOPPED), Level.INFO),
        (seen(READY, Reason.STARTING), seen(READY, Reason.ANSWERING), Level.INFO),
        (seen(READY, Reason.STOPPED), seen(READY, Reason.STARTING), None),
        (seen(READY, Reason.ANSWERING), seen(READY, Reason.CRASHED), Level.WARNING),
        (seen(READY, Reason.CRASHED, "first"), seen(READY, Reason.CRASHED, "second"), Level.WARNING),
        (seen(READY, Reason.STARTING), seen(READY, Reason.NOT_READY_IN_TIME), Level.WARNING),
        (seen(READY, Reason.ANSWERING), seen(READY, Reason.NODE_LOST), Level.WARNING),
        (seen(READY, Reason.NODE_LOST, "first"), seen(READY, Reason.NODE_LOST, "second"), Level.WARNING),
        (seen(READY, Reason.STARTING), seen(READY, Reason.BLOCKED), None),  # told by Placed
        (None, seen(SAVED, Reason.NEVER_STOPPED), None),
        (seen(SAVED, Reason.SAVE_SEEN, "at 1"), seen(SAVED, Reason.SAVE_SEEN, "at 2"), Level.INFO),
        (seen(SAVED, Reason.SAVE_SEEN), seen(SAVED, Reason.SAVE_NOT_SEEN, "lost"), Level.WARNING),
        (seen(CURRENT, Reason.UP_TO_DATE), seen(CURRENT, Reason.RESTART_NEEDED), Level.INFO),
        (seen(CURRENT, Reason.RESTART_NEEDED), seen(CURRENT, Reason.UP_TO_DATE), None),
    ],
)
def test_what_is_told(old: Condition | None, new: Condition, level: Level | None) -> None:
    """One event for news, none for what is only on its way."""
    events = derive_events("chess", [old] if old else [], [new])
    assert [(event.level, event.reason, event.message) for event in events] == (
        [(level, new.reason, new.message)] if level else []
    )


@pytest.mark.parametrize("kind", list(ConditionType))
@pytest.mark.parametrize("reason", list(Reason))
def test_the_same_again_is_no_event(kind: ConditionType, reason: Reason) -> None:
    """Whatever it is, also when it is seen under another generation."""
    condition = seen(kind, reason)
    assert not derive_events("chess", [condition], [replace(condition, observed_generation=9)])


def test_the_save_that_a_crash_cost_is_told_by_the_crash() -> None:
    """One event, not two."""
    old = [seen(READY, Reason.ANSWERING), seen(SAVED, Reason.SAVE_SEEN)]
    new = [seen(READY, Reason.CRASHED), seen(SAVED, Reason.SAVE_NOT_SEEN, "crashed")]
    assert [event.reason for event in derive_events("chess", old, new)] == ["Crashed"]
