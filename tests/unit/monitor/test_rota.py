"""The rota's promises, one test each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overworld.monitor.rota import Rota

INTERVAL = 10.0


def turns(rota: Rota, until: float, step: float = 0.01) -> list[tuple[float, str]]:
    """Every turn handed out until ``until``, each look over at once."""
    seen = []
    for tick in range(int(until / step)):
        for server_id in rota.take_due(tick * step):
            seen.append((tick * step, server_id))
            rota.done(server_id)
    return seen


def test_a_newcomer_is_looked_at_at_once_and_then_every_interval() -> None:
    """One server gets its first turn now, and the next ones an interval apart."""
    rota = Rota(INTERVAL)
    rota.set_members(["a"], 0.0)
    assert turns(rota, 35.0) == [(0.0, "a"), (10.0, "a"), (20.0, "a"), (30.0, "a")]


def test_a_thousand_newcomers_are_spread_over_the_interval() -> None:
    """A start with a thousand running games asks no more than about a hundred of them in any second."""
    rota = Rota(INTERVAL)
    rota.set_members([f"s{n}" for n in range(1000)], 0.0)
    seen = turns(rota, 20.0)
    assert len(seen) == 2000
    for second in range(20):
        assert sum(second <= at < second + 1 for at, _ in seen) <= 110


def test_a_busy_server_is_not_handed_out_again() -> None:
    """A game that hangs is not asked a second time while it hangs, and the others have their turns."""
    rota = Rota(INTERVAL)
    rota.set_members(["hangs", "well"], 0.0)
    assert set(rota.take_due(1.0)) == {"hangs", "well"}
    rota.done("well")
    assert rota.take_due(11.0) == ["well"]
    rota.done("hangs")
    assert rota.take_due(21.0) == ["hangs"]


def test_missed_turns_are_skipped() -> None:
    """After a minute asleep a server has one turn, not six."""
    rota = Rota(INTERVAL)
    rota.set_members(["a"], 0.0)
    assert rota.take_due(61.0) == ["a"]
    rota.done("a")
    assert rota.take_due(66.0) == []
    assert rota.take_due(70.0) == ["a"]


def test_leaving_and_staying() -> None:
    """A server that left has no more turns; one that stayed keeps its own moment."""
    rota = Rota(INTERVAL)
    rota.set_members(["a", "b"], 0.0)
    rota.take_due(1.0)
    rota.done("a")
    rota.set_members(["a"], 5.0)
    assert len(rota) == 1
    assert rota.seconds_to_next(5.0) == 5.0
    assert rota.take_due(12.0) == ["a"]
    rota.set_members([], 12.0)
    assert rota.seconds_to_next(12.0) is None


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=40))
def test_no_server_is_asked_twice_within_half_an_interval(pauses: list[float]) -> None:
    """However late the rota is read, a game's rate limit is respected."""
    rota = Rota(INTERVAL)
    rota.set_members(["a"], 0.0)
    now, last = 0.0, -INTERVAL
    for pause in pauses:
        now += pause
        if rota.take_due(now):
            assert now - last >= INTERVAL / 2 - 1e-6
            last = now
            rota.done("a")
