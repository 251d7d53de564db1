"""Lengths of time in, times out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from overworld.cli.times import DURATION, show_age, show_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0", 0), ("1.5", 1.5), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604800)],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    """Seconds, or numbers with units that add up."""
    assert DURATION.convert(text, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "-1", "1w", "1h 5", "h", "٣", "9999999999"])
def test_what_is_no_length_of_time(text: str) -> None:
    """Anything else is a usage error that shows how to write it."""
    with pytest.raises(click.BadParameter, match="90s"):
        DURATION.convert(text, None, None)


def test_times_are_shown_in_utc_to_the_second() -> None:
    """Whatever the offset in which the API writes a time, people see UTC."""
    assert show_time("2026-01-02T05:04:05.678+02:00") == "2026-01-02 03:04:05"
    assert show_time(None) == "-"


@pytest.mark.parametrize(
    ("seconds", "age"), [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d"), (-5, "0s")]
)
def test_ages_use_the_largest_fitting_unit(seconds: int, age: str) -> None:
    """A clock that runs behind shows 0 s, never a negative age."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert show_age((now - timedelta(seconds=seconds)).isoformat(), now) == age
