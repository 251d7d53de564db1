"""A server's address of its own, step by step: leased, made, put on its way in, compared, looked after, released."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controlling import BEGINNING, GAME, make_server
from overworld.controller.addressing import derive_endpoints
from overworld.controller.planner import Plan, plan
from overworld.controller.subject import Subject
from overworld.domain.addresses import AddressLease
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth, find_condition
from overworld.domain.observed import Observed, Phase, ProcessSeen, Removal, WantedAddress, WayIn
from overworld.domain.servers import NOT_YET_SEEN, Desired, Network, Server, Status

NOW = BEGINNING + timedelta(hours=1)
RUNNING = make_server()
LEASE = AddressLease("chess1", "chess-chess1", ports=1, leased_at=NOW)
MADE = replace(
    LEASE,
    resource="pip-chess1",
    ip="203.0.113.7",
    fqdn="chess.example",
    annotations={"pip": "pip-chess1"},
    checked_at=NOW,
)
FITS = WayIn(
    ("203.0.113.7",), {"pip": "pip-chess1", "overworld/address": "203.0.113.7", "overworld/address-attempt": "0"}
)


def see(phase: Phase | None, way_in: WayIn | None = None, **changes: object) -> Observed:
    """What the engine sees of it."""
    hash_of_it = subject(RUNNING, MADE).want.spec_hash
    process = None if phase is None else ProcessSeen(phase, NOW, hash_of_it, restarts=0)
    seen = Observed("chess1", True, process, frozenset({1}), exists=True, way_in=way_in)
    return replace(seen, **changes)  # type: ignore[arg-type]


def subject(
    server: Server, lease: AddressLease | None, status: Status = NOT_YET_SEEN, way_in: WayIn | None = None
) -> Subject:
    """It, where servers have addresses of their own."""
    seen = Observed("chess1", True, way_in=way_in)
    endpoints = derive_endpoints(GAME, Network.STABLE, (), lease, observed=seen, host="")
    return Subject(server, status, endpoints, GAME, Network.STABLE, lease)


def decide(
    lease: AddressLease | None, observed: Observed, server: Server = RUNNING, status: Status = NOT_YET_SEEN
) -> Plan:
    """The plan now."""
    return plan(subject(server, lease, status, observed.way_in), observed, NOW)


def condition(decided: Plan, kind: ConditionType) -> Condition:
    """That condition of a plan."""
    found = find_condition(decided.conditions or (), kind)
    assert found is not None
    return found


def test_the_game_begins_to_load_before_its_address_is_made() -> None:
    """First what the game needs, without a way in that could be given another address; then the address."""
    first = decide(LEASE, replace(see(None), worlds=frozenset()))
    assert first.apply is not None
    assert first.apply.address is None
    assert not first.ensure_address
    assert not first.lease_ports
    assert first.requeue_after is not None
    assert first.requeue_after < timedelta(seconds=1)
    then = decide(LEASE, see(Phase.STARTING))
    assert then.apply is None
    assert then.ensure_address
    assert condition(then, ConditionType.ADDRESSED).reason == Reason.ADDRESS_PENDING


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.READY, Phase.WAITING])
def test_a_made_address_is_put_on_the_way_in_whatever_runs(phase: Phase) -> None:
    """It is missing there, or something on it is."""
    for way_in in (
        None,
        WayIn(("203.0.113.7",), {}),
        WayIn((), {**FITS.annotations, "overworld/address": "203.0.113.1"}),
    ):
        decided = decide(MADE, see(phase, way_in))
        assert decided.apply is not None
        assert decided.apply.address == MADE.wanted


def test_what_others_write_on_the_way_in_is_left_alone() -> None:
    """More than is wanted is well."""
    decided = decide(MADE, see(Phase.READY, replace(FITS, annotations={**FITS.annotations, "somebody": "else"})))
    assert decided.is_idle
    assert decided.requeue_after is None
    assert condition(decided, ConditionType.READY).is_true
    assert "203.0.113.7 (chess.example)" in condition(decided, ConditionType.ADDRESSED).message


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [((), Reason.ADDRESS_PENDING), (("203.0.113.9",), Reason.ADDRESS_WRONG)],
    ids=["none", "another"],
)
def test_a_game_that_nobody_can_reach_is_not_ready(hosts: tuple[str, ...], reason: Reason) -> None:
    """Whatever the game says; and the cloud is asked again after a time."""
    decided = decide(MADE, see(Phase.READY, replace(FITS, hosts=hosts)))
    assert condition(decided, ConditionType.ADDRESSED).reason == reason
    assert condition(decided, ConditionType.READY).status is Truth.FALSE
    assert decided.is_idle
    assert decided.requeue_after == timedelta(seconds=15)
    later = decide(replace(MADE, checked_at=NOW - timedelta(seconds=15)), see(Phase.READY, replace(FITS, hosts=hosts)))
    assert later.ensure_address


def test_a_server_that_is_stopped_from_its_beginning_gets_its_address() -> None:
    """It is told to friends before the first start."""
    stopped = make_server(desired=Desired.STOPPED)
    assert decide(LEASE, see(None), stopped).ensure_address
    assert decide(MADE, see(None), stopped).apply is not None


def test_a_deleted_servers_address_stays_until_all_else_is_gone() -> None:
    """No way in is made or mended for it; its address is released after the last object."""
    deleted = make_server(desired=Desired.DELETED, deleted_at=BEGINNING, purge_at=NOW + timedelta(days=1))
    kept = decide(MADE, see(Phase.STOPPED), deleted)
    assert kept.is_idle
    overdue = replace(deleted, purge_at=NOW)
    marked = Status(1, decide(MADE, see(Phase.STOPPED), overdue).conditions or (), ())
    removing = decide(MADE, see(Phase.STOPPED, FITS), overdue, marked)
    assert Removal("chess1") in removing.delete
    assert not removing.release_address
    last = decide(MADE, see(None, worlds=frozenset(), exists=False), overdue, marked)
    assert last.release_address
    assert last.purge


def test_where_the_cluster_chooses_the_address_is_what_it_says() -> None:
    """The way in is made at once, and nobody is asked."""
    first = decide(None, see(None))
    assert first.apply is not None
    assert first.apply.address == WantedAddress()
    assert first.apply.endpoints[0].host == ""
    pending = decide(None, see(Phase.READY, WayIn((), {})))
    assert not pending.ensure_address
    assert condition(pending, ConditionType.READY).reason == Reason.ADDRESS_PENDING
    there = decide(None, see(Phase.READY, WayIn(("198.51.100.9",), {})))
    assert condition(there, ConditionType.READY).is_true
    assert subject(RUNNING, None, way_in=WayIn(("198.51.100.9",), {})).endpoints[0].host == "198.51.100.9"
