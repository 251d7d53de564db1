"""When an operation is over, how it ended, and how far it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlling import BEGINNING, make_server
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth
from overworld.domain.operations import (
    Operation,
    OperationKind,
    Outcome,
    Progress,
    derive_progress,
    derive_verdict,
)
from overworld.domain.servers import NOT_YET_SEEN, Desired, Status

TRUTHS = {
    Reason.ANSWERING: Truth.TRUE,
    Reason.INSTALLED: Truth.TRUE,
    Reason.INSTALLING: Truth.UNKNOWN,
    Reason.SAVE_SEEN: Truth.TRUE,
}


def operation(kind: OperationKind, generation: int = 1) -> Operation:
    """An open operation."""
    return Operation("op", "chess1", "owner", kind, generation, BEGINNING)


def status(generation: int = 1, **reasons: Reason) -> Status:
    """A status by the reasons of its conditions: ``ready=…, placed=…``."""
    return Status(
        generation,
        tuple(
            Condition(
                ConditionType[name.upper()],
                TRUTHS.get(reason, Truth.FALSE),
                reason,
                f"{reason}!",
                generation,
                BEGINNING,
            )
            for name, reason in reasons.items()
        ),
        (),
    )


@pytest.mark.parametrize(
    ("kind", "desired", "seen", "outcome", "reason"),
    [
        (OperationKind.START, Desired.RUNNING, status(ready=Reason.ANSWERING), Outcome.SUCCEEDED, Reason.ANSWERING),
        (OperationKind.CREATE, Desired.RUNNING, status(ready=Reason.CRASHED), Outcome.FAILED, Reason.CRASHED),
        (OperationKind.START, Desired.RUNNING, status(ready=Reason.OUT_OF_MEMORY), Outcome.FAILED, "OutOfMemory"),
        (
            OperationKind.START,
            Desired.RUNNING,
            status(ready=Reason.NOT_READY_IN_TIME),
            Outcome.FAILED,
            "NotReadyInTime",
        ),
        (OperationKind.START, Desired.RUNNING, status(ready=Reason.BLOCKED), Outcome.FAILED, Reason.BLOCKED),
        (
            OperationKind.RESTART,
            Desired.RUNNING,
            status(placed=Reason.GAME_UNKNOWN, ready=Reason.STOPPING),
            Outcome.FAILED,
            Reason.GAME_UNKNOWN,
        ),
        (OperationKind.STOP, Desired.STOPPED, status(ready=Reason.STOPPED), Outcome.SUCCEEDED, Reason.STOPPED),
        (OperationKind.DELETE, Desired.DELETED, status(ready=Reason.STOPPED), Outcome.SUCCEEDED, Reason.STOPPED),
        (
            OperationKind.CREATE,
            Desired.STOPPED,
            status(placed=Reason.INSTALLED, ready=Reason.STOPPED),
            Outcome.SUCCEEDED,
            Reason.STOPPED,
        ),
        (
            OperationKind.CREATE,
            Desired.STOPPED,
            status(placed=Reason.NO_PORT_FREE, ready=Reason.STOPPED),
            Outcome.FAILED,
            Reason.NO_PORT_FREE,
        ),
    ],
)
def test_verdicts(kind: OperationKind, desired: Desired, seen: Status, outcome: Outcome, reason: str) -> None:
    """The end of each kind of operation by what was seen."""
    verdict = derive_verdict(operation(kind), make_server(desired=desired), seen)
    assert verdict is not None
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.message


@pytest.mark.parametrize(
    ("kind", "desired", "seen"),
    [
        (OperationKind.START, Desired.RUNNING, NOT_YET_SEEN),
        (OperationKind.START, Desired.RUNNING, status(ready=Reason.STARTING)),
        (OperationKind.START, Desired.RUNNING, status(placed=Reason.INSTALLING, ready=Reason.STARTING)),
        (OperationKind.RESTART, Desired.RUNNING, status(ready=Reason.STOPPING)),
        (OperationKind.STOP, Desired.STOPPED, status(ready=Reason.STOPPING)),
        (OperationKind.CREATE, Desired.STOPPED, status(placed=Reason.INSTALLING, ready=Reason.STOPPED)),
    ],
)
def test_what_has_not_settled_has_no_verdict(kind: OperationKind, desired: Desired, seen: Status) -> None:
    """It waits."""
    assert derive_verdict(operation(kind), make_server(desired=desired), seen) is None


def test_what_was_seen_before_it_does_not_count() -> None:
    """The "running" of before a restart is not the one after it."""
    server = make_server(generation=2, restarts=1)
    restart = operation(OperationKind.RESTART, generation=2)
    assert derive_verdict(restart, server, status(1, ready=Reason.ANSWERING)) is None
    half = Status(2, status(1, ready=Reason.ANSWERING).conditions, ())
    assert derive_verdict(restart, server, half) is None
    assert derive_verdict(restart, server, status(2, ready=Reason.ANSWERING)) is not None


def test_a_stop_tells_of_its_save() -> None:
    """The owner of a stop wants to know of the world."""
    seen = status(ready=Reason.STOPPED, saved=Reason.SAVE_SEEN)
    verdict = derive_verdict(operation(OperationKind.STOP), make_server(desired=Desired.STOPPED), seen)
    assert verdict is not None
    assert verdict.message == "SaveSeen!"


@pytest.mark.parametrize(
    ("kind", "desired", "ready", "says"),
    [
        (OperationKind.UNDO, Desired.RUNNING, Reason.ANSWERING, "The earlier world is back in place. Answering!"),
        (OperationKind.UNDO, Desired.STOPPED, Reason.STOPPED, "The earlier world is back in place. Stopped!"),
        (OperationKind.CREATE, Desired.STOPPED, Reason.STOPPED, "Stopped!"),
    ],
)
def test_a_wish_tells_of_what_was_wished(kind: OperationKind, desired: Desired, ready: Reason, says: str) -> None:
    """Whoever undid a restore reads of the world; a server that was just made has no save to tell of."""
    seen = status(placed=Reason.INSTALLED, ready=ready, saved=Reason.NEVER_STOPPED)
    verdict = derive_verdict(operation(kind), make_server(desired=desired), seen)
    assert verdict is not None
    assert verdict.message == says


def test_progress_goes_from_accepted_to_settled() -> None:
    """Four steps, each with its sentence."""
    start = operation(OperationKind.START)
    assert derive_progress(start, NOT_YET_SEEN).done == 1
    installing = derive_progress(start, status(placed=Reason.INSTALLING, ready=Reason.STARTING))
    assert (installing.done, installing.message) == (2, "Installing!")
    loading = derive_progress(start, status(placed=Reason.INSTALLED, ready=Reason.STARTING))
    assert (loading.done, loading.of, loading.message) == (3, 4, "Starting!")
    assert derive_progress(start, status()).done == 3
    ended = Operation("op", "chess1", "owner", OperationKind.START, 1, BEGINNING, Outcome.SUCCEEDED, message="Fine.")
    assert (derive_progress(ended, NOT_YET_SEEN).done, derive_progress(ended, NOT_YET_SEEN).message) == (4, "Fine.")


def test_a_job_ends_with_as_many_steps_as_it_had() -> None:
    """Its worker says how many."""
    drill = replace(operation(OperationKind.DRILL), progress=Progress(1, 3, "Restoring to scratch."))
    ended = replace(drill, outcome=Outcome.SUCCEEDED, message="Fine.")
    assert derive_progress(ended, NOT_YET_SEEN) == Progress(3, 3, "Fine.")
