"""Servers on ports of their nodes: where they are reached, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlling import BEGINNING, ENDPOINT, GAME, make_server
from overworld.controller.addressing import derive_endpoints
from overworld.controller.outcomes import Done, settle
from overworld.controller.planner import plan
from overworld.controller.subject import Subject
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth, find_condition
from overworld.domain.games import Protocol
from overworld.domain.observed import Observed, Phase, ProcessSeen, WayIn
from overworld.domain.servers import NOT_YET_SEEN, Network, Status
from overworld.store.ports import PortLease

LEASE = PortLease("game", Protocol.UDP, 40001)


def look(*hosts: str, node: str | None = "node-1", phase: Phase = Phase.READY) -> tuple[Subject, Observed]:
    """A running server whose node is reached at these hosts."""
    way_in = WayIn(hosts, {}) if node is not None else None
    seen = Observed("chess1", complete=True, worlds=frozenset({1}), exists=True, way_in=way_in, node=node)
    endpoints = derive_endpoints(GAME, Network.DIRECT, [LEASE], None, observed=seen, host="this-machine")
    subject = Subject(make_server(), NOT_YET_SEEN, endpoints, GAME, Network.DIRECT)
    return subject, replace(seen, process=ProcessSeen(phase, BEGINNING, subject.want.spec_hash, 0))


def store(subject: Subject, observed: Observed) -> Status:
    """What the controller stores of it."""
    decided = plan(subject, observed, BEGINNING)
    write = settle(subject, decided, Done(), observed, operations=(), failures=0, now=BEGINNING)
    assert write is not None
    return write.status


def condition(status: Status, kind: ConditionType) -> Condition:
    """One of the conditions."""
    found = find_condition(status.conditions, kind)
    assert found is not None
    return found


def test_the_leased_port_is_told_with_the_nodes_host() -> None:
    """And whoever reads the condition knows that it moves."""
    status = store(*look("20.1.2.3"))
    assert status.endpoints == (replace(ENDPOINT, host="20.1.2.3", port=40001),)
    addressed = condition(status, ConditionType.ADDRESSED)
    assert (addressed.status, addressed.reason) == (Truth.TRUE, Reason.REACHABLE)
    assert "20.1.2.3" in addressed.message
    assert "the address follows the node" in addressed.message
    assert condition(status, ConditionType.READY).is_true


@pytest.mark.parametrize(
    ("node", "phase", "says"),
    [(None, Phase.STOPPED, "runs on none"), ("node-1", Phase.READY, "node-1 has no address")],
)
def test_without_a_host_there_is_no_endpoint(node: str | None, phase: Phase, says: str) -> None:
    """The port is kept, but nobody is sent to an address that is not there."""
    subject, observed = look(node=node, phase=phase)
    assert not subject.lacks_ports
    status = store(subject, observed)
    assert status.endpoints == ()
    addressed = condition(status, ConditionType.ADDRESSED)
    assert (addressed.status, addressed.reason) == (Truth.FALSE, Reason.ADDRESS_PENDING)
    assert says in addressed.message
    assert not condition(status, ConditionType.READY).is_true


def test_a_move_is_no_change_of_what_runs() -> None:
    """The ports are in the spec hash, the host is not: nothing has to be restarted for it."""
    (here, _), (there, _) = look("20.1.2.3"), look("20.1.2.4")
    assert here.want.spec_hash == there.want.spec_hash
    moved = replace(here, endpoints=(replace(here.endpoints[0], port=40002),))
    assert moved.want.spec_hash != here.want.spec_hash


def test_no_way_in_of_its_own_is_wanted() -> None:
    """So no Service is made, and none is missed."""
    subject, observed = look("20.1.2.3")
    assert subject.want.address is None
    assert plan(subject, observed, BEGINNING).is_idle
