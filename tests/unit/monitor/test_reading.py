"""An activity row says what was seen; what was not seen stays unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.activity import Activity, Answer, Presence
from overworld.domain.observed import Usage
from overworld.monitor.look import Look, Process
from overworld.monitor.reading import cpu_percent, read_activity

NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)
EARLIER = NOON - timedelta(seconds=10)


def usage(roster: tuple[str, ...] | None = None, *, cpu: float = 5.0, disk: float | None = 7.0) -> Usage:
    """What a process that began an hour ago uses."""
    return Usage(cpu, 300.0, disk, roster, NOON - timedelta(hours=1))


def look(*, answer: Answer | None = None, roster: tuple[str, ...] | None = None, has_query: bool = True) -> Look:
    """A look at noon at a process that runs."""
    return Look("s1", NOON, 1000.0, Process.RUNS, usage(roster), has_query, answer)


def row(presence: Presence = Presence.IDLE, players: int | None = 0, names: tuple[str, ...] = ()) -> Activity:
    """The row of ten seconds before."""
    return Activity(presence, players, 16, names, 1.0, 300.0, 7.0, EARLIER, EARLIER, EARLIER)


def test_a_failed_query_is_unknown() -> None:
    """A game that did not answer has no number of players, not even where its roster is empty."""
    seen = read_activity(look(roster=()), None, row(Presence.ACTIVE, 3, ("ann", "bob", "cid")))
    assert (seen.presence, seen.players, seen.max_players, seen.names) == (Presence.UNKNOWN, None, None, ())
    assert seen.last_active_at == EARLIER


def test_a_roster_beside_a_failed_query_proves_presence_but_no_number() -> None:
    """Somebody is there; how many is not known."""
    seen = read_activity(look(roster=("ann",)), None, None)
    assert (seen.presence, seen.players, seen.names) == (Presence.ACTIVE, None, ("ann",))


def test_nobody_needs_both_signals() -> None:
    """Zero by the query is idle only while the roster agrees."""
    nobody = Answer(0, 16)
    assert read_activity(look(answer=nobody, roster=()), None, None).presence is Presence.IDLE
    seen = read_activity(look(answer=nobody, roster=("ann",)), None, None)
    assert (seen.presence, seen.players) == (Presence.ACTIVE, 1)


def test_a_game_without_query_is_read_by_its_roster() -> None:
    """The join and leave lines count players for a game that cannot be asked."""
    seen = read_activity(look(roster=("ann", "bob"), has_query=False), None, None)
    assert (seen.presence, seen.players, seen.names) == (Presence.ACTIVE, 2, ("ann", "bob"))


def test_a_process_that_is_gone_has_no_players() -> None:
    """That nothing runs was observed, so the row says nobody and no use; what is on disk stays."""
    was = row(Presence.ACTIVE, 2, ("ann", "bob"))
    seen = read_activity(Look("s1", NOON, 1000.0, Process.GONE), None, was)
    assert seen == replace(
        was, presence=Presence.IDLE, players=0, names=(), cpu_percent=0.0, memory_mib=0.0, seen_at=NOON
    )


def test_an_engine_that_does_not_answer_leaves_everything_unknown() -> None:
    """Neither players nor use are guessed while the engine is silent."""
    seen = read_activity(Look("s1", NOON, 1000.0, Process.UNKNOWN, has_query=True), None, row())
    assert (seen.presence, seen.players, seen.cpu_percent, seen.memory_mib) == (Presence.UNKNOWN, None, None, None)


@pytest.mark.parametrize(
    ("was", "answer", "is_join"),
    [
        (None, Answer(1, 16), True),
        (row(), Answer(1, 16, ("ann",)), True),
        (row(), Answer(0, 16), False),
        (row(Presence.ACTIVE, 1, ("ann",)), Answer(1, 16, ("ann",)), False),
        (row(Presence.ACTIVE, 1, ("ann",)), Answer(1, 16, ("bob",)), True),
        (row(Presence.ACTIVE, 1), Answer(2, 16), True),
        (row(Presence.UNKNOWN, None), Answer(2, 16, ("ann",)), False),  # may have been there all the time
    ],
)
def test_joins(was: Activity | None, answer: Answer, is_join: bool) -> None:
    """A join is somebody who was not there at the look before."""
    seen = read_activity(look(answer=answer), None, was)
    assert (seen.join_seen_at == NOON) is is_join


def test_cpu_is_measured_between_looks_at_one_process() -> None:
    """Two seconds of processor time in four are half a core; a restart in between makes it unknown."""
    before = Look("s1", EARLIER, 996.0, Process.RUNS, usage(cpu=3.0))
    assert cpu_percent(look(), before) == pytest.approx(50.0)
    assert cpu_percent(look(), None) is None
    restarted = replace(before, usage=replace(usage(cpu=3.0), process_started_at=EARLIER - timedelta(days=1)))
    assert cpu_percent(look(), restarted) is None


def test_the_size_on_disk_stands_until_it_is_measured_again() -> None:
    """An engine may measure a world rarely; that is no reason to forget its size."""
    seen = read_activity(replace(look(), usage=usage(disk=None)), None, row())
    assert seen.disk_mib == 7.0


answers = st.none() | st.builds(Answer, st.integers(0, 5), st.just(16), st.just(()))
rosters = st.none() | st.lists(st.sampled_from(["ann", "bob", "cid"]), unique=True).map(tuple)


@given(st.booleans(), answers, rosters, st.sampled_from([Process.RUNS, Process.UNKNOWN]))
def test_unknown_is_never_read_as_nobody(
    has_query: bool, answer: Answer | None, roster: tuple[str, ...] | None, process: Process
) -> None:
    """For every mix of signals: zero players and idle only by an answer or a roster that said so."""
    answer = answer if has_query and process is Process.RUNS else None
    seen_usage = usage(roster) if process is Process.RUNS else None
    seen = read_activity(Look("s1", NOON, 1000.0, process, seen_usage, has_query, answer), None, None)
    said_so = answer is not None or (roster is not None and not has_query and process is Process.RUNS)
    if seen.presence is Presence.IDLE or seen.players == 0:
        assert said_so
    if seen.presence is Presence.UNKNOWN:
        assert seen.players is None
    if seen.players:
        assert seen.presence is Presence.ACTIVE


def test_names_come_from_the_signal_that_shows_more() -> None:
    """A game that hides names is named by its roster, and a join between the two signals is not lost."""
    hidden = read_activity(look(answer=Answer(2, 16), roster=("ann", "bob")), None, None)
    assert hidden.names == ("ann", "bob")
    between = read_activity(look(answer=Answer(2, 16, ("ann", "bob")), roster=("ann",)), None, None)
    assert (between.players, between.names) == (2, ("ann", "bob"))
