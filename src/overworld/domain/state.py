"""The one word for people: derived from spec and conditions, stored only so that lists can filter and sort by it."""

from __future__ import annotations

from enum import StrEnum

from overworld.domain.conditions import ConditionType, Reason, Truth, find_condition
from overworld.domain.servers import Desired, Server, Status


class State(StrEnum):
    """A server in one word."""

    PENDING = "pending"  # accepted, nothing seen of it yet
    STARTING = "starting"
    RUNNING = "running"  # the game said that players can join
    STOPPING = "stopping"
    STOPPED = "stopped"  # seen to have ended
    FAILED = "failed"  # wanted running and cannot: the Ready condition says why
    DELETED = "deleted"  # stopped for good; comes back by undelete until its retention has passed


_FAILURES = {Reason.CRASHED, Reason.OUT_OF_MEMORY, Reason.BLOCKED, Reason.NOT_READY_IN_TIME, Reason.NODE_LOST}


def derive_state(server: Server, status: Status) -> State:
    """The state of a server. A wish that was not looked at yet never counts as reached or as failed; a mere edit
    changes nothing."""
    ready = find_condition(status.conditions, ConditionType.READY)
    if ready is None:
        return State.DELETED if server.desired is Desired.DELETED else State.PENDING
    is_seen = status.observed_generation >= server.desired_generation
    if server.desired is Desired.RUNNING:
        if ready.status is Truth.TRUE:
            return State.RUNNING
        if ready.reason in _FAILURES and is_seen:
            return State.FAILED
        return State.STOPPING if ready.reason == Reason.STOPPING else State.STARTING
    if ready.reason != Reason.STOPPED or not is_seen:
        return State.STOPPING
    return State.DELETED if server.desired is Desired.DELETED else State.STOPPED
