"""What is charged for was seen, and never more than passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.observed import Usage
from overworld.monitor.accounting import seconds_by_day, seconds_run
from overworld.monitor.look import Look, Process

NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)
INTERVAL = 10.0


def look(clock: float, process: Process = Process.RUNS, *, started: float = -1e6) -> Look:
    """A look ``clock`` seconds after noon at a process that began ``started`` seconds after noon."""
    usage = Usage(0.0, 100.0, None, None, NOON + timedelta(seconds=started)) if process is Process.RUNS else None
    return Look("s1", NOON + timedelta(seconds=clock), clock, process, usage)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, look(100), 0.0),  # a first look proves nothing about the time before it
        (look(0), look(10), 10.0),
        (look(0), look(10, Process.GONE), 0.0),
        (look(0), look(3600), 2 * INTERVAL),  # the monitor's machine slept
        (look(0, Process.GONE), look(10, started=4), 6.0),
        (look(0), look(10, started=7), 3.0),  # restarted in between: only the new process is proven
        (look(0, Process.GONE), look(10, started=12), 0.0),  # the wall clock was set back
    ],
)
def test_seconds_run(before: Look | None, now: Look, expected: float) -> None:
    """Seconds count only if the process was seen, and only as far back as that is proven."""
    assert seconds_run(now, before, INTERVAL) == pytest.approx(expected)


steps = st.tuples(st.floats(0, 100), st.sampled_from([Process.RUNS, Process.GONE]), st.floats(0, 200))


@given(st.lists(steps, max_size=30))
def test_the_sum_of_seconds_never_exceeds_the_wall(history: list[tuple[float, Process, float]]) -> None:
    """Whatever is seen and however the process comes and goes, nobody pays for more time than passed."""
    clock, before, total = 0.0, None, 0.0
    for passed, process, age in history:
        clock += passed
        now = look(clock, process, started=clock - age)
        seconds = seconds_run(now, before, INTERVAL)
        assert 0 <= seconds <= 2 * INTERVAL
        total, before = total + seconds, now
    assert total <= clock + 1e-6


@given(st.floats(0, 90 * 86400), st.floats(0, 3 * 86400), st.booleans())
def test_days_add_up(later: float, running: float, is_played: bool) -> None:
    """Splitting at midnights loses and invents nothing, and no day gets more than a day."""
    days = seconds_by_day(NOON + timedelta(seconds=later), running, is_played=is_played, reserved_mib=512)
    assert sum(day.running for day in days.values()) == pytest.approx(running, abs=1e-3)
    assert sum(day.played for day in days.values()) == pytest.approx(running if is_played else 0.0, abs=1e-3)
    assert sum(day.memory_mib for day in days.values()) == pytest.approx(512 * running, abs=1)
    assert all(first == first.replace(hour=0, minute=0, second=0, microsecond=0) for first in days)
    assert all(day.running <= 86400 for day in days.values())


def test_midnight_belongs_to_the_day_before() -> None:
    """Ten seconds that end five seconds after midnight are five of each day."""
    midnight = datetime(2031, 5, 4, tzinfo=UTC)
    days = seconds_by_day(midnight + timedelta(seconds=5), 10, is_played=True, reserved_mib=1)
    assert {first: day.running for first, day in days.items()} == {
        midnight: pytest.approx(5),
        midnight - timedelta(days=1): pytest.approx(5),
    }
