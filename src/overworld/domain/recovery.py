"""Bringing back an installation that is lost: who may write to its saves, how well it is prepared, what comes back.

A *claim* says which machine an installation lives on: every recovery makes a new one with a greater epoch, and who
finds a greater one than its own in the save store writes nothing there any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from overworld.domain.saves import Played, Quiet, Save, nobody_has_played
from overworld.domain.servers import Server

LATE_AFTER = 3
"""Dumps that are missed before it is told."""


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """Where an installation lives. Of two with one epoch, made by two recoveries at once, the greater token wins: all
    who see both agree on it."""

    epoch: int
    token: str


@dataclass(frozen=True, slots=True)
class Recovery:
    """What this installation knows of its own recovery. ``fence`` is a sentence that says why it must not write to its
    saves, "" while it may; ``problem`` is why the last dump failed, "" if it did not. ``restored`` is True from the
    moment its database was brought back until all worlds were."""

    claim: Claim
    key_id: str
    wrapped: str
    key_made_at: datetime | None = None
    dumped_at: datetime | None = None
    dump_bytes: int = 0
    dump_new_bytes: int = 0
    dump_seconds: float = 0.0
    pruned_at: datetime | None = None
    prunes: int = 0
    problem: str = ""
    fence: str = ""
    restored: bool = False


class Preparedness(StrEnum):
    """Whether the installation could be brought back if its machine were lost now."""

    OFF = "off"
    WAITING = "waiting"
    READY = "ready"
    LATE = "late"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class Health:
    """How well it is prepared, in a sentence."""

    state: Preparedness
    message: str


def derive_health(recovery: Recovery | None, every: timedelta, now: datetime) -> Health:
    """What to tell the operator."""
    if recovery is None or recovery.key_made_at is None:
        return Health(
            Preparedness.OFF,
            "There is no recovery key: if this machine is lost, no server comes back."
            " Run `overworld recovery create-key` on it.",
        )
    if recovery.fence:
        return Health(Preparedness.FENCED, recovery.fence)
    if recovery.dumped_at is None:
        says = f" The last attempt failed: {recovery.problem}" if recovery.problem else ""
        return Health(Preparedness.WAITING, f"The database was not dumped to the save store yet.{says}")
    age = now - recovery.dumped_at
    at = f"{recovery.dumped_at:%Y-%m-%d %H:%M} UTC"
    if age > LATE_AFTER * every:
        why = recovery.problem or "no worker has tried; does one run?"
        return Health(Preparedness.LATE, f"The last dump of the database is of {at}: {why}")
    return Health(Preparedness.READY, f"The database was last dumped to the save store {at}.")


def choose_save(server: Server, kept: Sequence[Save], source: Save | None) -> Save | None:
    """The save that the server comes back with: the newest of its present world that held still, else the newest of
    it. Where that world was never saved, ``source``, the save that it was made from; else the newest of any world."""
    of_present = [save for save in kept if save.world_generation == server.world_generation]
    choice = of_present or ([source] if source is not None else list(kept))
    still = [save for save in choice if save.quiet is not Quiet.UNQUIETED]
    return max(still or choice, key=lambda save: (save.created_at, save.id), default=None)


def derive_loss(save: Save, played: Played | None, last_sign: datetime) -> timedelta:
    """How much of what was played is not in the save, at most: the time from it to the old installation's last sign of
    life; nothing if it is certain that nobody played in between."""
    if played is not None and nobody_has_played(save.created_at, played, last_sign):
        return timedelta()
    return max(last_sign - save.created_at, timedelta())
