"""Saves: what a snapshot of a world is, how worlds are to be saved, and when a schedule may be skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from overworld.domain.activity import Presence
from overworld.domain.conditions import Condition, ConditionType, Truth
from overworld.domain.servers import ServerId


class SaveState(StrEnum):
    """Where a save is in its life."""

    RUNNING = "running"
    KEPT = "kept"
    FAILED = "failed"
    GONE = "gone"  # removed from the store: by retention or by somebody


class SaveReason(StrEnum):
    """Why a save was taken."""

    ON_DEMAND = "on_demand"
    SCHEDULE = "schedule"
    STOP = "stop"
    BEFORE_RESTORE = "before_restore"
    BEFORE_EDIT = "before_edit"
    BEFORE_DELETE = "before_delete"
    UPLOAD = "upload"


class Quiet(StrEnum):
    """Whether the world held still while it was saved."""

    QUIETED = "quieted"  # a running game that said that its world was written, or whose database copied itself
    UNQUIETED = "unquieted"  # a running game from which the proof did not come: the save may be torn
    STOPPED = "stopped"  # nothing ran


class Proof(StrEnum):
    """How a save was proven."""

    RESTORED = "restored"  # to scratch, and compared file by file
    BOOTED = "booted"  # moreover the game started on it and answered


@dataclass(frozen=True, slots=True)
class Save:
    """One save. Sizes are bytes; ``off_seconds`` is how long the game was told not to write, None if it was not.

    ``spec`` is what is needed to make the server anew: name, game, variables, memory_mib.
    """

    id: str
    server_id: ServerId
    account_id: str
    world_generation: int
    state: SaveState
    reason: SaveReason
    label: str
    pinned: bool
    created_at: datetime
    snapshot_id: str | None = None
    quiet: Quiet | None = None
    off_seconds: float | None = None
    bytes_total: int | None = None
    bytes_new: int | None = None
    files: int | None = None
    seconds: float | None = None
    game_revision: str = ""
    configuration_revision: int = 0
    spec: Mapping[str, object] = field(default_factory=dict)
    proven_at: datetime | None = None
    proof: Proof | None = None
    error: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SavePolicy:
    """How a server's world is saved. None means: as the installation is set. ``cron`` "" means: on no schedule."""

    server_id: ServerId
    cron: str | None = None
    time_zone: str | None = None
    keep_last: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    quota_mib: int | None = None
    drill: bool | None = None
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SaveHealth:
    """What the saves of a server have shown: written by the worker. ``problem`` is a sentence, "" where all is well."""

    last_saved_at: datetime | None = None
    last_proven_at: datetime | None = None
    last_checked_at: datetime | None = None
    problem_reason: str = ""
    problem: str = ""
    problem_since: datetime | None = None
    checks: int = 0


@dataclass(frozen=True, slots=True)
class Played:
    """What is known of play since a save began. ``stopped_since`` is when the game was seen to have ended, None while
    it runs; ``unknown_looks`` counts looks at which nobody could tell who plays, ``minutes_seen`` the minutes with
    any look at all."""

    stopped_since: datetime | None
    presence: Presence | None
    last_active_at: datetime | None
    unknown_looks: int
    minutes_seen: int


UNSEEN_MINUTES_ALLOWED = 2
"""The minute of the save and the present one need not be written down yet."""


def nobody_has_played(since: datetime, played: Played, now: datetime) -> bool:
    """Whether it is certain that nobody played after ``since``: what was not seen is unknown and never skips a save."""
    if played.stopped_since is not None and played.stopped_since <= since:
        return True
    if played.stopped_since is not None or played.presence is not Presence.IDLE or played.unknown_looks:
        return False
    if played.last_active_at is not None and played.last_active_at >= since:
        return False
    minutes = (now - since) // timedelta(minutes=1)
    return played.minutes_seen >= minutes - UNSEEN_MINUTES_ALLOWED


def derive_save_conditions(health: SaveHealth, observed_generation: int) -> tuple[Condition, ...]:
    """What the saves of a server have shown as a condition of it; none before the first."""
    if health.problem_reason and health.problem_since is not None:
        return (
            Condition(
                ConditionType.PROTECTED,
                Truth.FALSE,
                health.problem_reason,
                health.problem,
                observed_generation,
                health.problem_since,
            ),
        )
    if health.last_saved_at is None:
        return ()
    proven = health.last_proven_at
    says = "never proven yet" if proven is None else f"last proven {proven:%Y-%m-%d %H:%M} UTC"
    message = f"Last saved {health.last_saved_at:%Y-%m-%d %H:%M} UTC, {says}."
    return (
        Condition(
            ConditionType.PROTECTED, Truth.TRUE, "Saved", message, observed_generation, proven or health.last_saved_at
        ),
    )
