"""The books: nothing is lost while the database is away, nothing is entered twice, and they do not grow for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.activity import Answer, Presence
from overworld.domain.observed import Usage
from overworld.domain.state import State
from overworld.monitor import books as books_module
from overworld.monitor.books import Books
from overworld.monitor.look import Look, Process
from overworld.store.activity import RunningServer

MIDNIGHT = datetime(2031, 5, 4, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
INTERVAL = 10.0
SERVER = RunningServer("s1", "acc", "one", "luanti", 512, State.RUNNING, (), None)


def look(clock: float, *, players: int | None = 0, process: Process = Process.RUNS) -> Look:
    """A look ``clock`` seconds after noon; ``players`` None is a query that failed."""
    usage = Usage(clock, 300.0, 7.0, None, NOON - timedelta(hours=1)) if process is Process.RUNS else None
    answer = Answer(players, 16) if players is not None and process is Process.RUNS else None
    return Look("s1", NOON + timedelta(seconds=clock), clock, process, usage, True, answer)


def test_a_look_becomes_a_row_a_sample_and_seconds() -> None:
    """Two looks ten seconds apart, somebody on at the second."""
    books = Books(INTERVAL)
    books.record(SERVER, look(0))
    books.record(SERVER, look(10, players=2))
    batch = books.take()
    assert batch.rows["s1"].players == 2
    assert [sample.players for sample in batch.samples] == [0, 2]
    (time,) = batch.times
    assert (time.account_id, time.server_id, time.at) == ("acc", "s1", MIDNIGHT)
    assert (time.running_seconds, time.played_seconds, time.memory_mib_seconds) == (10, 10, 5120)
    assert not books.take()


def test_unknown_is_neither_played_nor_sampled_as_zero() -> None:
    """A query that failed leaves players open in the history, and its seconds unplayed."""
    books = Books(INTERVAL)
    books.record(SERVER, look(0, players=2))
    books.record(SERVER, look(10, players=None))
    batch = books.take()
    assert batch.samples[-1].players is None
    assert (batch.times[0].running_seconds, batch.times[0].played_seconds) == (10, 0)


def test_an_engine_that_was_silent_for_one_look_costs_no_seconds() -> None:
    """The next look measures from the last known one."""
    books = Books(INTERVAL)
    books.record(SERVER, look(0))
    books.record(SERVER, look(10, process=Process.UNKNOWN))
    books.record(SERVER, look(20))
    assert books.take().times[0].running_seconds == 20


def test_a_batch_that_was_not_written_comes_back() -> None:
    """Seconds add up, samples keep their order, the newer row wins."""
    books = Books(INTERVAL)
    books.record(SERVER, look(0))
    books.record(SERVER, look(10))
    lost = books.take()
    books.record(SERVER, look(20, players=3))
    books.put_back(lost)
    batch = books.take()
    assert batch.rows["s1"].players == 3
    assert [sample.at for sample in batch.samples] == [NOON + timedelta(seconds=s) for s in (0, 10, 20)]
    assert batch.times[0].running_seconds == 20


def test_samples_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database stays away the oldest samples go; no second does."""
    monkeypatch.setattr(books_module, "MOST_SAMPLES", 5)
    books = Books(INTERVAL)
    for n in range(20):
        books.record(SERVER, look(10.0 * n))
        books.put_back(books.take())
    batch = books.take()
    assert len(batch.samples) == 5
    assert batch.samples[-1].at == NOON + timedelta(seconds=190)
    assert batch.times[0].running_seconds == 190


def test_a_server_that_stays_down_is_written_once() -> None:
    """Looks at a process that is gone cost the database nothing after the first."""
    books = Books(INTERVAL)
    books.record(SERVER, look(0))
    books.record(SERVER, look(10, process=Process.GONE))
    assert books.take().rows["s1"].presence is Presence.IDLE
    books.record(SERVER, look(20, process=Process.GONE))
    assert not books.take()


def test_a_server_that_left_the_list_starts_anew() -> None:
    """Time during which nobody looked is not charged when it comes back."""
    books = Books(INTERVAL)
    books.record(SERVER, look(0))
    books.keep_only([])
    books.record(replace(SERVER, activity=None), look(15))
    assert books.take().times == []


moments = st.lists(
    st.tuples(st.floats(0.1, 60), st.sampled_from(Process), st.none() | st.integers(0, 3), st.booleans()), max_size=40
)


@given(moments)
def test_seconds_never_exceed_the_wall(history: list[tuple[float, Process, int | None, bool]]) -> None:
    """Through any looks and any failed writes: played ≤ running ≤ passed."""
    books, clock = Books(INTERVAL), 0.0
    running = played = 0.0
    for passed, process, players, is_written in history:
        clock += passed
        books.record(SERVER, look(clock, process=process, players=players))
        batch = books.take()
        if is_written:
            running += sum(time.running_seconds for time in batch.times)
            played += sum(time.played_seconds for time in batch.times)
        else:
            books.put_back(batch)
    batch = books.take()
    running += sum(time.running_seconds for time in batch.times)
    played += sum(time.played_seconds for time in batch.times)
    assert played <= running + 1e-6
    assert running <= clock + 1e-6
