"""Activity: who plays, by two signals that are never guessed. A failed query is *unknown*, not zero."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Presence(StrEnum):
    """Whether somebody plays."""

    ACTIVE = "active"
    IDLE = "idle"  # nobody, confirmed by every signal there is
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """A game's own answer to "who plays?". ``names`` may be shorter than ``players``: some games hide them."""

    players: int
    max_players: int | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Activity:
    """The latest activity row of a server: written by the monitor (``join_seen_at`` by the doorman too).

    ``cpu_percent`` is of one core. None means not known.
    """

    presence: Presence
    players: int | None
    max_players: int | None
    names: tuple[str, ...]
    cpu_percent: float | None
    memory_mib: float | None
    disk_mib: float | None
    seen_at: datetime
    last_active_at: datetime | None
    join_seen_at: datetime | None = None


def derive_presence(*, has_query: bool, answer: Answer | None, roster: tuple[str, ...] | None) -> Presence:
    """Whether somebody plays, by the game's answer and by the join and leave lines of its output.

    Either signal alone proves that somebody plays. "Nobody" needs every signal that the game has to agree: a query
    that failed (``has_query`` and no ``answer``) is unknown, whatever the roster says; so is a game without signals.
    """
    if (answer is not None and answer.players > 0) or roster:
        return Presence.ACTIVE
    if (has_query and answer is None) or (answer is None and roster is None):
        return Presence.UNKNOWN
    return Presence.IDLE
