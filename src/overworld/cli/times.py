"""Times of the API, read and shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[timedelta]):
    """A length of time on the command line: seconds, or a number with s, m, h or d; several add up (1h30m)."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The ``timedelta``, never negative."""
        if isinstance(value, timedelta):
            return value
        text = str(value).strip().lower()
        if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text, re.ASCII):
            return timedelta(seconds=float(text))
        if re.fullmatch(r"(\d{1,9}[smhd])+", text, re.ASCII):
            return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([smhd])", text)))
        raise click.BadParameter(f"{text!r} is not a length of time: write 90, 90s, 15m, 2h or 7d.", ctx, param)


DURATION = Duration()


def read_time(text: object) -> datetime | None:
    """An RFC 3339 time of the API, None for what is not one."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def show_time(text: object) -> str:
    """The time for people: UTC, to the second; "-" for none."""
    time = read_time(text)
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if time is not None else "-"


def show_age(text: object, now: datetime) -> str:
    """How long ago, in the largest unit that is at least 2 (or in seconds); "-" for none."""
    time = read_time(text)
    if time is None:
        return "-"
    seconds = max(int((now - time).total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
