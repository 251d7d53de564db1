"""Conditions: what was seen about a server, one sentence each. A phase is never stored, only derived (state.py)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class ConditionType(StrEnum):
    """What a condition speaks of."""

    PLACED = "Placed"  # world, ports and program are there: "installed"
    ADDRESSED = "Addressed"  # its address of its own leads to it; only where servers have one
    READY = "Ready"  # the game said that players can join
    SAVED = "Saved"  # the last stop was seen to write the world
    CURRENT = "Current"  # what runs is what the spec says (False: restart to apply)
    PROTECTED = "Protected"  # its world is saved, and the saves are whole: said by workers, never stored as a status


class Truth(StrEnum):
    """Seen true, seen false, or not seen."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """One word for why a condition is as it is. Clients may switch on it; the message is for people."""

    # Placed
    INSTALLED = "Installed"
    INSTALLING = "Installing"
    PORT_TAKEN = "PortTaken"
    NO_PORT_FREE = "NoPortFree"
    PROGRAM_MISSING = "ProgramMissing"
    DISK_FULL = "DiskFull"
    GAME_UNKNOWN = "GameUnknown"
    WORLD_IN_USE = "WorldInUse"
    WORLD_MISSING = "WorldMissing"
    ENGINE_UNAVAILABLE = "EngineUnavailable"
    GROWING = "Growing"
    CANNOT_GROW = "CannotGrow"
    NO_FOLDER = "NoFolder"
    PURGED = "Purged"
    # Addressed
    REACHABLE = "Reachable"
    ADDRESS_PENDING = "AddressPending"
    ADDRESS_WRONG = "AddressWrong"
    # Ready
    ANSWERING = "Answering"
    STARTING = "Starting"
    NODE_LOST = "NodeLost"
    NOT_READY_IN_TIME = "NotReadyInTime"
    CRASHED = "Crashed"
    OUT_OF_MEMORY = "OutOfMemory"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    BLOCKED = "Blocked"
    # Saved
    SAVE_SEEN = "SaveSeen"
    SAVE_NOT_SEEN = "SaveNotSeen"
    NEVER_STOPPED = "NeverStopped"
    # Current
    UP_TO_DATE = "UpToDate"
    RESTART_NEEDED = "RestartNeeded"


SHORTCOMINGS = frozenset({Reason.CANNOT_GROW, Reason.NO_FOLDER})
"""Of Placed: everything is in place and plays, but for something more that was wished for."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing seen. ``since`` is when status or reason last changed; ``observed_generation`` is the generation of
    the spec that this was seen under."""

    type: ConditionType
    status: Truth
    reason: str  # a Reason, or a word of the engine's own
    message: str
    observed_generation: int
    since: datetime

    @property
    def is_true(self) -> bool:
        """Whether it was seen to be true."""
        return self.status is Truth.TRUE


def find_condition(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """The condition of that type, or None where it was never seen."""
    return next((condition for condition in conditions if condition.type is kind), None)


def carry_since(new: Iterable[Condition], old: Iterable[Condition]) -> tuple[Condition, ...]:
    """The new conditions, each keeping the old ``since`` where neither its status nor its reason changed."""
    before = {condition.type: condition for condition in old}
    return tuple(
        replace(condition, since=was.since)
        if (was := before.get(condition.type)) is not None
        and (was.status, was.reason) == (condition.status, condition.reason)
        else condition
        for condition in new
    )
