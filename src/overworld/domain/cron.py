"""Schedules in cron's five fields, in a time zone, spread so that many servers do not start together. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from overworld.domain.errors import BadInput

_NAMES = {
    "month": {
        name: number
        for number, name in enumerate(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
        )
    },
    "day of the week": {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
LOOK_AHEAD_DAYS = 366 * 8 + 3  # a leap day is at most eight years away
LONGEST = 100


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule. Where both days are restricted either will do, as everywhere else."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    any_day: bool
    any_weekday: bool

    def is_on(self, at: datetime) -> bool:
        """Whether it comes on that day of the local calendar."""
        if at.month not in self.months:
            return False
        by_day, by_weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return by_day and by_weekday if self.any_day or self.any_weekday else by_day or by_weekday

    def next_after(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The first time after ``after``, in UTC; None if there is none (the 30th of February).

        A local time that the clocks skip comes never, one that they show twice comes once, at the first.
        """
        day = after.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        for _ in range(LOOK_AHEAD_DAYS):
            if self.is_on(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        local = day.replace(hour=hour, minute=minute)
                        at = local.replace(tzinfo=zone).astimezone(UTC)
                        if at > after and at.astimezone(zone).replace(tzinfo=None) == local:
                            return at
            day += timedelta(days=1)
        return None


def parse_cron(text: str) -> Cron:
    """The schedule that the five fields say. Raises BadInput naming the field that is wrong."""
    parts = text.split()
    if len(parts) != len(_FIELDS) or len(text) > LONGEST:
        raise _bad("must have five fields: minute, hour, day of the month, month, day of the week; `0 4 * * *` is 4:00")
    minutes, hours, days, months, weekdays = (
        _parse_field(part.lower(), *shape) for part, shape in zip(parts, _FIELDS, strict=True)
    )
    return Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        any_day=parts[2].startswith("*"),
        any_weekday=parts[4].startswith("*"),
    )


def next_save(cron: Cron, zone: tzinfo, server_id: str, after: datetime, jitter: timedelta) -> datetime | None:
    """When the server is saved next after ``after``: the schedule's time, put off by this server's own share of
    ``jitter``. The share stays the same, so the distance between two saves does."""
    share = int.from_bytes(hashlib.sha256(server_id.encode()).digest()[:4], "big") / 2**32
    offset = jitter * share
    at = cron.next_after(after - offset, zone)
    return None if at is None else at + offset


def _parse_field(text: str, name: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        values, _, step_text = part.partition("/")
        step = _number(step_text, name, 1, high) if "/" in part else 1
        first, _, last = values.partition("-")
        if values == "*":
            start, end = low, high
        else:
            start = _number(first, name, low, high)
            alone = high if "/" in part else start
            end = _number(last, name, low, high) if "-" in values else alone
        if end < start:
            raise _bad(f"{name}: {part!r} ends before it begins")
        found.update(range(start, end + 1, step))
    return found


def _number(text: str, name: str, low: int, high: int) -> int:
    named = _NAMES.get(name, {}).get(text)
    if named is not None:
        return named
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise _bad(f"{name}: {text!r} is not a number from {low} to {high}")
    return int(text)


def _bad(says: str) -> BadInput:
    return BadInput(f"The schedule {says}.", errors=[{"at": "/cron", "says": says}])
