"""How long a server ran and was played: what is charged for. Pure; time that nobody saw is never charged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from overworld.monitor.look import Look

LONGEST_GAP_IN_INTERVALS = 2
"""A longer gap between two looks (a suspended machine, a monitor that was away) counts as this many intervals."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """What one server used on one UTC day. ``memory_mib`` are MiB reserved (not touched) times seconds run."""

    running: float = 0.0
    played: float = 0.0
    memory_mib: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.running + other.running, self.played + other.played, self.memory_mib + other.memory_mib)


def seconds_run(look: Look, before: Look | None, interval_seconds: float) -> float:
    """The seconds between two looks during which the process was there. Never more than passed between them, than
    two intervals, or than the process is old; 0 for a first look and for one that saw no process."""
    if before is None or look.usage is None:
        return 0.0
    passed = min(look.clock - before.clock, LONGEST_GAP_IN_INTERVALS * interval_seconds)
    if before.usage is None or before.usage.process_started_at != look.usage.process_started_at:
        passed = min(passed, (look.at - look.usage.process_started_at).total_seconds())
    return max(passed, 0.0)


def seconds_by_day(end: datetime, running: float, *, is_played: bool, reserved_mib: int) -> dict[datetime, Seconds]:
    """``running`` seconds that ended at ``end``, by the UTC day (its first moment) on which they passed.

    They count as played only if somebody was seen at their end: *unknown* is neither played nor idle.
    """
    days: dict[datetime, Seconds] = {}
    left = running
    while left > 0:
        # The day of the last moment before `end`: a look at midnight sharp closes the day before.
        day = _day_of(end - timedelta(microseconds=1))
        on_this_day = min(left, (end - day).total_seconds())
        days[day] = Seconds(on_this_day, on_this_day if is_played else 0.0, on_this_day * reserved_mib)
        left -= on_this_day
        end = day
    return days


def _day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
