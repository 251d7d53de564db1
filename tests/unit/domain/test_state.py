"""The one word for a server."""

from __future__ import annotations

import pytest

from controlling import BEGINNING, make_server
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth
from overworld.domain.servers import NOT_YET_SEEN, Desired, Status
from overworld.domain.state import State, derive_state


def ready(reason: Reason, generation: int = 1) -> Status:
    """A status whose Ready has that reason."""
    truth = Truth.TRUE if reason is Reason.ANSWERING else Truth.FALSE
    condition = Condition(ConditionType.READY, truth, reason, "Told.", generation, BEGINNING)
    return Status(generation, (condition,), ())


@pytest.mark.parametrize(
    ("desired", "reason", "state"),
    [
        (Desired.RUNNING, Reason.STARTING, State.STARTING),
        (Desired.RUNNING, Reason.ANSWERING, State.RUNNING),
        (Desired.RUNNING, Reason.STOPPING, State.STOPPING),
        (Desired.RUNNING, Reason.STOPPED, State.STARTING),
        (Desired.RUNNING, Reason.CRASHED, State.FAILED),
        (Desired.RUNNING, Reason.OUT_OF_MEMORY, State.FAILED),
        (Desired.RUNNING, Reason.NOT_READY_IN_TIME, State.FAILED),
        (Desired.RUNNING, Reason.BLOCKED, State.FAILED),
        (Desired.STOPPED, Reason.STOPPING, State.STOPPING),
        (Desired.STOPPED, Reason.ANSWERING, State.STOPPING),
        (Desired.STOPPED, Reason.STOPPED, State.STOPPED),
        (Desired.DELETED, Reason.STOPPING, State.STOPPING),
        (Desired.DELETED, Reason.STOPPED, State.DELETED),
    ],
)
def test_state_of_what_was_seen(desired: Desired, reason: Reason, state: State) -> None:
    """Every wish with everything that may be seen under it."""
    assert derive_state(make_server(desired=desired), ready(reason)) is state


@pytest.mark.parametrize(
    ("desired", "state"),
    [(Desired.RUNNING, State.PENDING), (Desired.STOPPED, State.PENDING), (Desired.DELETED, State.DELETED)],
)
def test_state_of_what_was_never_seen(desired: Desired, state: State) -> None:
    """Accepted, and nothing else is known."""
    assert derive_state(make_server(desired=desired), NOT_YET_SEEN) is state


@pytest.mark.parametrize(
    ("desired", "reason", "state"),
    [
        (Desired.RUNNING, Reason.CRASHED, State.STARTING),
        (Desired.STOPPED, Reason.STOPPED, State.STOPPING),
        (Desired.DELETED, Reason.STOPPED, State.STOPPING),
    ],
)
def test_a_wish_that_was_not_looked_at_is_neither_reached_nor_failed(
    desired: Desired, reason: Reason, state: State
) -> None:
    """What was seen under the wish before it does not count."""
    server = make_server(desired=desired, generation=2, desired_generation=2)
    assert derive_state(server, ready(reason)) is state


def test_a_mere_edit_changes_nothing() -> None:
    """A newer generation with the same wish keeps the state."""
    server = make_server(desired=Desired.STOPPED, generation=5, desired_generation=1)
    assert derive_state(server, ready(Reason.STOPPED)) is State.STOPPED
