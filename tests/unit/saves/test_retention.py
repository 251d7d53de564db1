"""Which saves are kept: examples that a person can check, and what holds for all policies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.errors import BadInput
from overworld.saves.retention import Kept, Policy, prune_is_due, saves_to_forget

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
NOTHING = Policy(last=0, hourly=0, daily=0, weekly=0, monthly=0)
BERLIN = ZoneInfo("Europe/Berlin")

POLICIES = st.builds(
    Policy,
    last=st.integers(0, 5), hourly=st.integers(0, 5), daily=st.integers(0, 5), weekly=st.integers(0, 5),
    monthly=st.integers(0, 5), quota_bytes=st.none() | st.integers(0, 500),
)  # fmt: skip
SAVES = st.lists(
    st.tuples(st.integers(0, 100_000), st.integers(0, 100), st.booleans(), st.booleans()), max_size=40
).map(lambda rows: [Kept(f"s{n}", NOW - timedelta(minutes=m), b, p, a) for n, (m, b, p, a) in enumerate(rows)])
ZONES = st.sampled_from([UTC, BERLIN, ZoneInfo("Pacific/Auckland"), ZoneInfo("America/St_Johns")])


def hourly(number: int) -> list[Kept]:
    """One save an hour, the newest at NOW, named by how many hours ago it was."""
    return [Kept(f"{hours}", NOW - timedelta(hours=hours), 10) for hours in range(number)]


def kept(saves: list[Kept], policy: Policy, zone: ZoneInfo | None = None) -> set[str]:
    """The ids of those that stay."""
    return {save.save_id for save in saves} - set(saves_to_forget(saves, policy, zone or UTC))


def test_the_newest_of_each_period_stay() -> None:
    """Two last; of each of three days its newest."""
    assert kept(hourly(100), Policy(last=2, hourly=0, daily=0, weekly=0, monthly=0)) == {"0", "1"}
    assert kept(hourly(100), Policy(last=0, hourly=0, daily=3, weekly=0, monthly=0)) == {"0", "13", "37"}


def test_days_begin_where_the_owner_lives() -> None:
    """At noon UTC it is 14 o'clock in Berlin, where yesterday's last save is the one of 15 hours ago."""
    assert kept(hourly(100), Policy(last=0, hourly=0, daily=3, weekly=0, monthly=0), BERLIN) == {"0", "15", "39"}


def test_an_hour_that_comes_twice_is_two_hours() -> None:
    """When clocks are set back, the two hours named 2 each keep a save."""
    saves = [
        Kept("first", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        Kept("second", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    ]
    assert kept(saves, Policy(last=0, hourly=2, daily=0, weekly=0, monthly=0), BERLIN) == {"first", "second"}


def test_periods_without_a_save_count_for_nothing() -> None:
    """A server that was not played for a year still has its monthly saves."""
    saves = [Kept("old", NOW - timedelta(days=400)), Kept("older", NOW - timedelta(days=440)), Kept("new", NOW)]
    assert kept(saves, Policy(last=0, hourly=0, daily=0, weekly=0, monthly=3)) == {"old", "older", "new"}


def test_the_oldest_go_for_the_quota() -> None:
    """Ten saves of 10 bytes into 35: three stay."""
    assert kept(hourly(10), Policy(quota_bytes=35)) == {"0", "1", "2"}


def test_the_newest_stays_whatever_is_said() -> None:
    """With a policy of nothing and no room."""
    assert kept(hourly(10), Policy(0, 0, 0, 0, 0, quota_bytes=0)) == {"0"}


def test_what_somebody_asked_for_is_not_pushed_out() -> None:
    """Six restores and stops within the hour, each with a save of its own, leave the saves that were asked for."""
    minutes = [Kept(f"{minute}", NOW - timedelta(minutes=minute), asked=minute > 6) for minute in range(12)]
    assert kept(minutes, Policy(last=3, hourly=0, daily=0, weekly=0, monthly=0)) == {"0", "1", "2", "7", "8", "9"}


def test_a_negative_number_is_refused() -> None:
    """It would mean nothing."""
    with pytest.raises(BadInput):
        Policy(last=-1)


@given(SAVES, POLICIES, ZONES)
def test_pinned_saves_and_the_newest_are_never_forgotten(saves: list[Kept], policy: Policy, zone: ZoneInfo) -> None:
    """Whatever the policy."""
    gone = set(saves_to_forget(saves, policy, zone))
    assert not gone & {save.save_id for save in saves if save.pinned}
    if saves:
        assert max(saves, key=lambda save: (save.at, save.save_id)).save_id not in gone


@given(SAVES, POLICIES, ZONES)
def test_forgetting_twice_forgets_no_more(saves: list[Kept], policy: Policy, zone: ZoneInfo) -> None:
    """What stays, stays: a second look at the rest finds nothing."""
    gone = set(saves_to_forget(saves, policy, zone))
    assert saves_to_forget([save for save in saves if save.save_id not in gone], policy, zone) == ()


@given(SAVES, POLICIES, ZONES, st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(
    saves: list[Kept], policy: Policy, zone: ZoneInfo, chance: object
) -> None:
    """Nor does it come out in another order."""
    shuffled = list(saves)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert saves_to_forget(shuffled, policy, zone) == saves_to_forget(saves, policy, zone)


@given(SAVES, POLICIES, ZONES)
def test_at_least_as_many_stay_as_are_asked_for(saves: list[Kept], policy: Policy, zone: ZoneInfo) -> None:
    """Without a quota, the newest ``last`` that are not pinned stay, and all that are pinned beside them."""
    free = Policy(policy.last, policy.hourly, policy.daily, policy.weekly, policy.monthly)
    gone = set(saves_to_forget(saves, free, zone))
    choice = sorted((save for save in saves if not save.pinned), key=lambda save: (save.at, save.save_id), reverse=True)
    assert not gone & {save.save_id for save in choice[: policy.last]}


@given(SAVES, POLICIES, ZONES)
def test_the_quota_holds_as_far_as_it_can(saves: list[Kept], policy: Policy, zone: ZoneInfo) -> None:
    """What stays fits, or only pinned saves and the newest stay."""
    gone = set(saves_to_forget(saves, policy, zone))
    left = sorted((save for save in saves if save.save_id not in gone), key=lambda save: (save.at, save.save_id))
    if policy.quota_bytes is not None and sum(save.bytes_new for save in left) > policy.quota_bytes:
        assert all(save.pinned for save in left[:-1])


def test_a_prune_is_due_when_waste_passes_its_part() -> None:
    """More than a tenth; never for an empty repository."""
    assert not prune_is_due(0, 0)
    assert not prune_is_due(100, 90)
    assert prune_is_due(100, 89)
