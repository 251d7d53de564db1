"""Lines of a pod's log: ``<RFC 3339 time with nanoseconds> <text>``. The time is the line's id. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from overworld.engines.base import Line

_NANOSECONDS = 1_000_000_000
_LONGEST_ID = 19


class Ids:
    """Makes ids strictly ascending within one reading: two lines may have the same nanosecond."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, nanoseconds: int) -> int:
        """The id of a line of that time."""
        self._last = max(nanoseconds, self._last + 1)
        return self._last


def parse_line(raw: str, ids: Ids) -> Line | None:
    """One line of a log with timestamps; None if it is none (the kubelet's own words about a log that is gone)."""
    stamp, _, text = raw.partition(" ")
    nanoseconds = _parse_time(stamp)
    if nanoseconds is None:
        return None
    line_id = ids.next(nanoseconds)
    seconds, rest = divmod(line_id, _NANOSECONDS)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return Line(id=str(line_id), at=at, text=text)


def _parse_time(stamp: str) -> int | None:
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    if not stamp.endswith("Z") or not (fraction == "" or fraction.isdecimal()):
        return None
    try:
        seconds = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    except ValueError:
        return None
    return int(seconds) * _NANOSECONDS + int(fraction[:9].ljust(9, "0") or "0")


def parse_id(after: str | None) -> int:
    """The id to go on after; 0 for none and for one that no log can have given."""
    if after is None or not (after.isascii() and after.isdigit()) or len(after) > _LONGEST_ID:
        return 0
    return int(after)


def since_parameter(seen: int) -> dict[str, str]:
    """What makes the API leave out most of the lines up to that id: it knows whole seconds only."""
    if seen == 0:
        return {}
    return {"sinceTime": datetime.fromtimestamp(seen // _NANOSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def merge_lines(before: Sequence[Line], now: Sequence[Line]) -> list[Line]:
    """The lines of two containers, one after the other, in order and none twice."""
    if not before or not now:
        return [*before, *now]
    first = int(now[0].id)
    return [*(line for line in before if int(line.id) < first), *now]
