"""Schedules: cron's five fields, time zones whose clocks jump, and a place of its own for each server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.cron import next_save, parse_cron
from overworld.domain.errors import BadInput

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 4 * * *", datetime(2026, 3, 1, 4, 0, tzinfo=UTC), datetime(2026, 3, 2, 4, 0, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 3, 1, 4, 1, tzinfo=UTC), datetime(2026, 3, 1, 4, 15, tzinfo=UTC)),
        ("30 1-3 * * *", datetime(2026, 3, 1, 2, 31, tzinfo=UTC), datetime(2026, 3, 1, 3, 30, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2026, 3, 1, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 12 * * mon", datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 9, 12, tzinfo=UTC)),
        ("0 12 13 * fri", datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 3, 13, 12, tzinfo=UTC)),
        ("0 12 13 * 7", datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 3, 8, 12, tzinfo=UTC)),
        ("5/20 0 1 jan,jul *", datetime(2026, 1, 1, 0, 5, tzinfo=UTC), datetime(2026, 1, 1, 0, 25, tzinfo=UTC)),
    ],
)
def test_the_next_time(cron: str, after: datetime, expected: datetime) -> None:
    """As everybody reads the five fields; with both days restricted, either will do."""
    assert parse_cron(cron).next_after(after, UTC) == expected


def test_a_local_time_that_the_clocks_skip_never_comes() -> None:
    """On the last Sunday of March there is no 2:30 in Berlin: the next one is on Monday."""
    after = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert parse_cron("30 2 * * *").next_after(after, BERLIN) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_a_local_time_that_comes_twice_comes_once() -> None:
    """On the last Sunday of October there are two 2:30 in Berlin: the first is taken."""
    first = parse_cron("30 2 * * *").next_after(datetime(2026, 10, 24, 12, tzinfo=UTC), BERLIN)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert parse_cron("30 2 * * *").next_after(first, BERLIN) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_a_day_that_never_comes() -> None:
    """The 30th of February is no mistake of the form, it only never comes."""
    assert parse_cron("0 0 30 2 *").next_after(datetime(2026, 1, 1, tzinfo=UTC), UTC) is None


@pytest.mark.parametrize(
    "cron", ["", "0 4 * *", "60 * * * *", "* * * * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *"]
)
def test_what_is_no_schedule(cron: str) -> None:
    """It is refused with the field that is wrong."""
    with pytest.raises(BadInput) as refused:
        parse_cron(cron)
    assert refused.value.extra["errors"][0]["at"] == "/cron"  # type: ignore[index]


@given(server=st.text(min_size=1, max_size=12), minutes=st.integers(0, 200_000))
def test_each_server_keeps_its_place(server: str, minutes: int) -> None:
    """Within the jitter after the schedule's time, always the same, and always after the moment asked about."""
    cron, jitter = parse_cron("0 */6 * * *"), timedelta(minutes=15)
    after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    at = next_save(cron, UTC, server, after, jitter)
    assert at is not None
    assert at > after
    place = at - cron.next_after(at - jitter, UTC)  # type: ignore[operator]
    assert timedelta() <= place <= jitter
    following = next_save(cron, UTC, server, at, jitter)
    assert following is not None
    assert following - at == timedelta(hours=6)


def test_a_thousand_servers_do_not_start_together() -> None:
    """Their places are spread over the whole of the jitter."""
    cron, jitter = parse_cron("0 4 * * *"), timedelta(minutes=15)
    after = datetime(2026, 1, 1, tzinfo=UTC)
    minutes = {
        at.minute
        for number in range(1000)
        if (at := next_save(cron, UTC, f"server{number}", after, jitter)) is not None
    }
    assert minutes == set(range(15))
