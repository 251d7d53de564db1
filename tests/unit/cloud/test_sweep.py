"""Sweeps over every mix of leases and addresses: the leased is safe, the orphaned goes in the end, and not at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from overworld.cloud.base import AddressSeen
from overworld.cloud.none import NoCloud
from overworld.cloud.sweep import Oddity, SweepRule, plan_sweep, sweep
from overworld.domain.addresses import AddressLease
from overworld.domain.errors import CloudUnavailable

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RULE = SweepRule()
LONG_AGO = NOW - timedelta(days=3)

ids = st.sampled_from(list("bcdfghjkmnpq"))
ips = st.none() | st.sampled_from(["203.0.113.1", "203.0.113.2"])
times = st.integers(0, 72 * 60).map(lambda minutes: NOW - timedelta(minutes=minutes))
leases = st.dictionaries(ids, st.tuples(ips, times)).map(
    lambda rows: [lease(server_id, ip, at) for server_id, (ip, at) in rows.items()]
)
addresses = st.dictionaries(ids, st.tuples(ips, st.booleans(), st.none() | times)).map(
    lambda rows: [address(server_id, ip, attached, since) for server_id, (ip, attached, since) in rows.items()]
)


def lease(server_id: str, ip: str | None, leased_at: datetime) -> AddressLease:
    """One row."""
    return AddressLease(server_id, f"l-{server_id}", ports=1, leased_at=leased_at, ip=ip)


def address(
    server_id: str, ip: str | None = "203.0.113.1", attached: bool = False, since: datetime | None = None
) -> AddressSeen:
    """One address in the cloud."""
    return AddressSeen(f"overworld-prod-{server_id}", server_id, ip, f"l-{server_id}", attached, since)


class Sky(NoCloud):
    """A cloud of addresses in memory; what is in ``stubborn`` cannot be released."""

    def __init__(self, there: Sequence[AddressSeen], stubborn: Sequence[str] = ()) -> None:
        self.there = {one.server_id: one for one in there}
        self.stubborn = stubborn

    async def addresses(self) -> tuple[AddressSeen, ...]:
        """All that is there."""
        return tuple(self.there.values())

    async def mark_orphan(self, server_id: str, since: datetime | None) -> None:
        """Note it."""
        if server_id in self.there:
            self.there[server_id] = replace(self.there[server_id], orphan_since=since)

    async def release_address(self, server_id: str) -> None:
        """Gone, unless it is stubborn."""
        if server_id in self.stubborn:
            raise CloudUnavailable(f"{server_id} is still used.")
        self.there.pop(server_id, None)


@given(leases, addresses, st.integers(0, 12))
def test_what_is_leased_is_never_touched(rows: list[AddressLease], there: list[AddressSeen], most: int) -> None:
    """Neither marked nor removed, whatever is written on it; and its mark goes."""
    plan = plan_sweep(rows, there, NOW, replace(RULE, most_removals=most))
    leased = {row.server_id for row in rows}
    assert not leased & {*plan.mark, *plan.remove}
    assert set(plan.unmark) == {one.server_id for one in there if one.server_id in leased and one.orphan_since}


@given(leases, addresses, st.integers(0, 12))
def test_removal_has_its_conditions(rows: list[AddressLease], there: list[AddressSeen], most: int) -> None:
    """Removed is only what nothing uses and what was marked a whole grace ago; all of it or, if too many, none."""
    plan = plan_sweep(rows, there, NOW, replace(RULE, most_removals=most))
    leased = {row.server_id for row in rows}
    due = {
        one.server_id
        for one in there
        if one.server_id not in leased
        and not one.attached
        and one.orphan_since is not None
        and NOW - one.orphan_since >= RULE.grace
    }
    assert set(plan.remove) == (due if len(due) <= most else set())
    assert not set(plan.remove) & set(plan.mark)


@given(leases, addresses)
def test_everything_odd_is_told_once(rows: list[AddressLease], there: list[AddressSeen]) -> None:
    """Each orphan is a finding before (and when) it is removed; each server has one finding at most."""
    plan = plan_sweep(rows, there, NOW, RULE)
    told = [finding.server_id for finding in plan.findings]
    assert len(told) == len(set(told))
    assert {one.server_id for one in there} - {row.server_id for row in rows} <= set(told)
    assert plan == plan_sweep(reversed(rows), reversed(there), NOW, RULE)


def test_both_sides_have_their_orphans() -> None:
    """Each kind in its own words."""
    rows = [
        lease("b", "203.0.113.1", LONG_AGO),  # as it should be
        lease("c", "203.0.113.2", LONG_AGO),  # changed
        lease("d", "203.0.113.3", LONG_AGO),  # gone
        lease("f", None, NOW - timedelta(minutes=1)),  # in the making
        lease("g", None, LONG_AGO),  # never made
    ]
    there = [address("b"), address("c"), address("h"), address("j", attached=True, since=LONG_AGO)]
    plan = plan_sweep(rows, there, NOW, RULE)
    assert [(finding.server_id, finding.oddity) for finding in plan.findings] == [
        ("h", Oddity.ORPHANED),
        ("j", Oddity.STRAY),
        ("c", Oddity.CHANGED),
        ("d", Oddity.MISSING),
        ("g", Oddity.MISSING),
    ]
    assert plan.findings[0].says == (
        "The address overworld-prod-h (203.0.113.1) belongs to no server: it is removed after 2026-11-24T12:00+00:00."
    )
    assert (plan.mark, plan.remove) == (("h",), ())


def test_many_at_once_need_a_person() -> None:
    """An empty table of leases is more likely a wrong database than the end of everything."""
    there = [address(server_id, since=LONG_AGO) for server_id in "bcdf"]
    plan = plan_sweep([], there, NOW, replace(RULE, most_removals=3))
    assert plan.remove == ()
    assert all("Is this the right database?" in finding.says for finding in plan.findings)


@given(leases, addresses)
async def test_sweeps_converge(rows: list[AddressLease], there: list[AddressSeen]) -> None:
    """After one sweep, a grace and another, the cloud has what is leased and what is used; a third does nothing."""
    sky = Sky(there)

    async def read() -> list[AddressLease]:
        return rows

    rule = replace(RULE, most_removals=100)
    first = await sweep(sky, read, NOW, rule)
    second = await sweep(sky, read, NOW + rule.grace, rule)
    leased = {row.server_id for row in rows}
    before = {one.server_id for one in there}
    used = {one.server_id for one in there if one.attached}
    assert sky.there.keys() == before & (leased | used)
    assert {*first.removed, *second.removed} == before - leased - used
    left = dict(sky.there)
    assert (await sweep(sky, read, NOW + 2 * rule.grace, rule)).removed == ()
    assert sky.there == left


async def test_a_lease_that_comes_late_is_seen() -> None:
    """A server leased between the plan and the removal keeps its address."""
    sky = Sky([address("b", since=LONG_AGO)])
    reads = iter([[], [lease("b", None, NOW)]])

    async def read() -> list[AddressLease]:
        return next(reads)

    assert (await sweep(sky, read, NOW, RULE)).removed == ()
    assert "b" in sky.there


async def test_a_server_that_is_created_meanwhile() -> None:
    """Lease and address appear while the cloud is being listed: the address is nobody's orphan."""
    rows: list[AddressLease] = []

    class Growing(Sky):
        async def addresses(self) -> tuple[AddressSeen, ...]:
            rows.append(lease("b", None, NOW))
            self.there["b"] = address("b")
            return await super().addresses()

    async def read() -> list[AddressLease]:
        return list(rows)

    sky = Growing([])
    assert (await sweep(sky, read, NOW, RULE)).findings == ()
    assert sky.there["b"].orphan_since is None


async def test_one_failure_does_not_end_the_sweep() -> None:
    """What cannot be removed is told, and the rest is removed."""
    sky = Sky([address("b", since=LONG_AGO), address("c", since=LONG_AGO)], stubborn=["b"])

    async def read() -> list[AddressLease]:
        return []

    report = await sweep(sky, read, NOW, RULE)
    assert (report.removed, report.failures) == (("c",), ("b is still used.",))
