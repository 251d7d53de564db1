"""What is decided about nodes, state by state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controlling import BEGINNING as NOW
from overworld.cloud.base import MachineState
from overworld.controller.drains import Move, Occupy, Warn
from overworld.controller.fates import LOST_BY_US, LOST_TAINT, SHUTDOWN_TAINT
from overworld.controller.node_plan import (
    Action,
    ClearLost,
    MarkLost,
    NodePlan,
    NodeRules,
    NodeWorld,
    PowerOff,
    Release,
    event_of,
)
from overworld.controller.nodes import needs_fate, plan_nodes, told_troubles
from overworld.domain.activity import Presence
from overworld.domain.conditions import Truth
from overworld.domain.nodes import Guest, NodeRecord, NodeSeen, NodeState, NodeWord, Taint

RULES = NodeRules(
    loss_grace=timedelta(seconds=60), power_off_after=timedelta(minutes=3), drain_deadline=timedelta(minutes=20)
)
LONG_AGO = NOW - timedelta(hours=1)
GUEST = Guest("chess1", "chess1-pod", "pool-1")
OFF_WORD = NodeWord("u1", "pool-1", "admin", NOW)


def node(*, silent_for: float | None = None, **changes: Any) -> NodeSeen:
    """A node for games that answers, or has not for so many seconds."""
    silent = silent_for is not None
    seen = NodeSeen(
        name="pool-1",
        uid="u1",
        ready=Truth.UNKNOWN if silent else Truth.TRUE,
        ready_since=NOW - timedelta(seconds=silent_for or 0) if silent else LONG_AGO,
        provider_id="azure:///x",
        labels={"workload": "gameserver"},
    )
    return replace(seen, **changes)


def world(*nodes: NodeSeen, guests: tuple[Guest, ...] = (GUEST,), **known: Any) -> NodeWorld:
    """What is known, with one server on the first node."""
    return NodeWorld(nodes=nodes, guests=guests, **known)


def plan(*nodes: NodeSeen, **known: Any) -> NodePlan:
    """The plan."""
    return plan_nodes(world(*nodes, **known), RULES, NOW)


def kinds(decided: NodePlan) -> list[type[Action]]:
    """What is to be done, but for marks of who plays."""
    return [type(action) for action in decided.actions if not isinstance(action, Occupy)]


def state(decided: NodePlan) -> NodeState:
    """The state of the only node."""
    return decided.records[0].state


def as_known(decided: NodePlan) -> dict[str, NodeRecord]:
    """The records as the next look finds them."""
    return {record.name: record for record in decided.records}


def test_a_node_that_answers_is_left_alone() -> None:
    """It is written down once, and then there is nothing to do."""
    idle = replace(GUEST, is_occupied=False)
    first = plan(node(), guests=(idle,), presences={"chess1": Presence.IDLE})
    assert (state(first), first.actions, first.is_calm) == (NodeState.READY, (), True)
    second = plan(node(), guests=(idle,), presences={"chess1": Presence.IDLE}, known=as_known(first))
    assert second.is_settled


def test_a_short_silence_is_waited_out() -> None:
    """Within the grace nobody is asked, nothing is done, and its servers say what they said."""
    silent = node(silent_for=59)
    assert needs_fate(world(silent), RULES, NOW) == ()
    decided = plan(silent)
    assert (state(decided), kinds(decided), decided.troubles) == (NodeState.SILENT, [], {})
    assert not decided.is_calm


def test_nobody_asks_about_a_silent_node_without_servers() -> None:
    """Its machine is none of our business."""
    silent = node(silent_for=3600)
    assert needs_fate(world(silent, guests=()), RULES, NOW) == ()
    assert kinds(plan(silent, guests=(), fates={"u1": MachineState.RUNNING})) == []


def test_after_the_grace_the_cloud_is_asked() -> None:
    """Until it has answered nothing is done, and the owners are told what is waited for."""
    silent = node(silent_for=60)
    assert needs_fate(world(silent), RULES, NOW) == (silent,)
    decided = plan(silent)
    assert (state(decided), kinds(decided)) == (NodeState.UNCONFIRMED, [])
    assert decided.troubles["chess1"] == (
        "Its node pool-1 has not answered since 2030-01-01 11:59:00 UTC: the cloud is being asked whether its machine "
        "still runs."
    )


@pytest.mark.parametrize("fate", [MachineState.STOPPED, MachineState.GONE])
def test_a_machine_that_is_off_frees_its_servers(fate: MachineState) -> None:
    """First the cluster is told, then each server's pod is removed; the owners are told each step."""
    decided = plan(node(silent_for=60), fates={"u1": fate})
    assert (state(decided), kinds(decided)) == (NodeState.LOST, [MarkLost, Release])
    assert "is lost" in decided.troubles["chess1"]
    event = event_of(decided.actions[1])
    assert event is not None
    assert "The world was freed" in event.message


def test_a_machine_that_runs_is_waited_for_and_then_powered_off() -> None:
    """Nothing is freed while it runs, whatever was asked of the cloud."""
    waiting = plan(node(silent_for=120), fates={"u1": MachineState.RUNNING})
    assert (state(waiting), kinds(waiting)) == (NodeState.UNCONFIRMED, [])
    assert "12:01:00 UTC, it is powered off" in waiting.troubles["chess1"]
    pulled = plan(node(silent_for=180), fates={"u1": MachineState.RUNNING})
    assert (state(pulled), kinds(pulled)) == (NodeState.UNCONFIRMED, [PowerOff])


def test_a_machine_on_which_players_are_seen_is_not_powered_off() -> None:
    """A node can fall silent towards the cluster while its games go on."""
    decided = plan(node(silent_for=900), fates={"u1": MachineState.RUNNING}, presences={"chess1": Presence.ACTIVE})
    assert kinds(decided) == []
    assert "players are still seen" in decided.troubles["chess1"]


def test_no_machine_is_powered_off_when_most_nodes_are_silent() -> None:
    """That looks like a fault of the cluster: its games may be well. What is known to be off is freed all the same."""
    nodes = tuple(
        replace(node(silent_for=900 if number < 3 else None), name=f"pool-{number}", uid=f"u{number}")
        for number in range(1, 5)
    )
    fates = {"u1": MachineState.RUNNING, "u2": MachineState.STOPPED}
    guests = (GUEST, Guest("chess2", "chess2-pod", "pool-2"))
    assert kinds(plan(*nodes, guests=guests, fates=fates)) == [PowerOff, MarkLost, Release]
    widespread = plan(*nodes[:3], guests=guests, fates=fates)
    assert kinds(widespread) == [MarkLost, Release]
    assert "most nodes fell silent together" in widespread.troubles["chess1"]


def test_where_nobody_can_tell_an_operator_has_to() -> None:
    """The sentence says which command, and why nothing happens before."""
    decided = plan(node(silent_for=60), fates={"u1": MachineState.UNKNOWN})
    assert (state(decided), kinds(decided)) == (NodeState.NEEDS_WORD, [])
    assert "`overworld node confirm-lost pool-1`" in decided.troubles["chess1"]
    assert "two games on one world" in decided.troubles["chess1"]


def test_a_cloud_that_refuses_to_tell_leaves_it_to_an_operator() -> None:
    """Its reason is told, so that somebody can mend it."""
    decided = plan(node(silent_for=60), refusals={"u1": "Give it the role."})
    assert (state(decided), kinds(decided)) == (NodeState.NEEDS_WORD, [])
    assert decided.troubles["chess1"].endswith("(Give it the role.)")


def test_a_cloud_that_refuses_to_power_off_leaves_it_to_an_operator() -> None:
    """It is tried again all the same: somebody may have mended it."""
    decided = plan(node(silent_for=600), fates={"u1": MachineState.RUNNING}, refusals={"u1": "Give it the role."})
    assert (state(decided), kinds(decided)) == (NodeState.NEEDS_WORD, [PowerOff])


def test_an_operators_word_counts_for_its_silence() -> None:
    """At once, without the grace; but not one from before the node was last heard of, nor one on another node."""
    silent = node(silent_for=30)
    assert kinds(plan(silent, words={"u1": OFF_WORD})) == [MarkLost, Release]
    assert needs_fate(world(node(silent_for=60), words={"u1": OFF_WORD}), RULES, NOW) == ()
    old = replace(OFF_WORD, said_at=NOW - timedelta(seconds=31))
    assert kinds(plan(silent, words={"u1": old})) == []
    assert kinds(plan(silent, words={"u1": replace(OFF_WORD, uid="u0")})) == []


def test_a_word_is_forgotten_when_the_node_answers() -> None:
    """It must not count for a later silence; nor is it kept for a node that is no more."""
    decided = plan(node(), words={"u1": OFF_WORD, "u0": replace(OFF_WORD, uid="u0")})
    assert decided.forget_words == ("u0", "u1")
    assert kinds(decided) == []


@pytest.mark.parametrize("key", [SHUTDOWN_TAINT, LOST_TAINT])
def test_the_clusters_own_marks_count(key: str) -> None:
    """What the cluster's cloud controller or another operator marked needs nobody else's word."""
    marked = node(silent_for=10, taints=(Taint(key, "", "NoSchedule"),))
    assert Release in kinds(plan(marked))
    assert (MarkLost in kinds(plan(marked))) is (key == SHUTDOWN_TAINT)
    assert Release not in kinds(plan(replace(marked, ready=Truth.TRUE)))


def test_our_own_mark_proves_nothing() -> None:
    """A machine that was off may have been started again: what is left on it waits until it is known anew."""
    marked = node(silent_for=600, taints=(Taint(LOST_TAINT, "", "NoExecute"),), annotations={LOST_BY_US: "u1"})
    assert kinds(plan(marked, fates={"u1": MachineState.RUNNING})) == [PowerOff]
    assert kinds(plan(marked, fates={"u1": MachineState.STOPPED})) == [Release]


def test_a_lost_node_without_servers_stays_lost_and_settled() -> None:
    """Until it answers; nobody is asked about it any more."""
    silent = node(silent_for=600)
    lost = as_known(plan(silent, fates={"u1": MachineState.STOPPED}))
    marked = replace(silent, taints=(Taint(LOST_TAINT, "", "NoExecute"),), annotations={LOST_BY_US: "u1"})
    later = plan(marked, guests=(), known=lost)
    assert later.is_settled
    assert later.is_calm
    assert needs_fate(world(marked, guests=(), known=lost), RULES, NOW) == ()


def test_a_node_that_comes_back_is_taken_in_when_it_is_empty() -> None:
    """With pods left on it our mark stays, and makes them end; another's mark is never taken off."""
    back = node(taints=(Taint(LOST_TAINT, "", "NoExecute"),), annotations={LOST_BY_US: "u1"})
    full = plan(back)
    assert (state(full), kinds(full)) == (NodeState.RETURNED, [])
    assert kinds(plan(back, guests=())) == [ClearLost]
    assert kinds(plan(replace(back, annotations={}), guests=())) == []


def test_the_servers_of_a_removed_node_are_freed() -> None:
    """A node that is not in the cluster any more writes nothing; what was written of it is forgotten."""
    known = as_known(plan(node()))
    decided = plan(known=known)
    assert kinds(decided) == [Release]
    assert decided.forget == ("pool-1",)


def test_a_controller_that_begins_says_what_was_said() -> None:
    """Until it has looked: but nothing of a node that answers again, or of another one of that name."""
    silent = node(silent_for=600)
    decided = plan(silent, fates={"u1": MachineState.UNKNOWN})
    known = as_known(decided)
    assert told_troubles(world(silent, known=known)) == decided.troubles
    assert told_troubles(world(replace(silent, ready=Truth.TRUE), known=known)) == {}
    assert told_troubles(world(replace(silent, uid="u2"), known=known)) == {}


# --- Draining


CORDONED = node(unschedulable=True)


def since(minutes: float, of: NodeSeen = CORDONED) -> dict[str, NodeRecord]:
    """The node was first seen to be emptied so long ago."""
    began = NOW - timedelta(minutes=minutes)
    return {"pool-1": NodeRecord("pool-1", of.uid, NodeState.DRAINING, "", began, of.provider_id)}


@pytest.mark.parametrize(
    "draining",
    [
        CORDONED,
        node(taints=(Taint("ToBeDeletedByClusterAutoscaler", "1", "NoSchedule"),)),
        node(taints=(Taint("karpenter.sh/disrupted", "", "NoSchedule"),)),
    ],
)
def test_a_server_on_which_nobody_plays_moves_at_once(draining: NodeSeen) -> None:
    """Whatever empties the node."""
    decided = plan(draining, presences={"chess1": Presence.IDLE})
    assert (state(decided), kinds(decided)) == (NodeState.DRAINING, [Move])
    assert [event.reason for event in decided.events] == ["NodeDraining"]
    assert "at 2030-01-01 12:20:00 UTC at last" in decided.events[0].message


def test_a_machine_that_is_taken_back_leaves_no_time() -> None:
    """Players are told at once, and the world is saved before the cloud pulls the plug: cordoned or not."""
    taken = node(unschedulable=True, taints=(Taint("remediator.kubernetes.azure.com/unschedulable", "", "NoSchedule"),))
    presences = {"chess1": Presence.ACTIVE}
    assert kinds(plan(taken, presences=presences)) == [Warn]
    assert kinds(plan(taken, presences=presences, known=since(10 / 60))) == [Move]


def test_a_mere_candidate_is_not_drained() -> None:
    """The autoscaler only considers to remove it."""
    candidate = node(taints=(Taint("DeletionCandidateOfClusterAutoscaler", "1", "PreferNoSchedule"),))
    assert state(plan(candidate, presences={"chess1": Presence.IDLE})) is NodeState.READY


@pytest.mark.parametrize("presence", [Presence.ACTIVE, Presence.UNKNOWN, None])
def test_a_server_on_which_somebody_may_play_waits(presence: Presence | None) -> None:
    """Unknown is not quiet. It moves at the deadline."""
    presences = {} if presence is None else {"chess1": presence}
    assert kinds(plan(CORDONED, presences=presences, known=since(5))) == []
    assert kinds(plan(CORDONED, presences=presences, known=since(20))) == [Move]


def test_players_are_warned_once_at_each_mark() -> None:
    """Ten, five and one minutes before; a missed mark is not made up for."""
    warned: dict[tuple[str, str], timedelta] = {}
    told = []
    for half_minutes in range(40):
        minutes = half_minutes / 2
        decided = plan(CORDONED, presences={"chess1": Presence.ACTIVE}, known=since(minutes), warned=dict(warned))
        for action in decided.actions:
            if isinstance(action, Warn):
                warned[action.uid, action.guest.server_id] = action.mark
                told.append((minutes, action.text.partition(".")[0]))
    assert told == [
        (10.0, "This server moves to another machine in 10 minutes"),
        (15.0, "This server moves to another machine in 5 minutes"),
        (19.0, "This server moves to another machine in 1 minute"),
    ]


def test_a_short_deadline_is_told_as_it_is() -> None:
    """Not as the mark that it is below."""
    rules = replace(RULES, drain_deadline=timedelta(seconds=8))
    decided = plan_nodes(world(CORDONED), rules, NOW)
    assert [action.text for action in decided.actions if isinstance(action, Warn)] == [
        "This server moves to another machine in 8 seconds. It saves the world and is back soon."
    ]


def test_what_ends_already_is_not_moved_again() -> None:
    """Nor warned, nor marked."""
    ending = replace(GUEST, is_ending=True)
    assert plan(CORDONED, guests=(ending,), presences={"chess1": Presence.IDLE}).actions == ()


def test_a_drain_that_is_called_off_is_over() -> None:
    """Uncordoned, the node is ready; a later cordon has a deadline of its own."""
    assert state(plan(node(), known=since(19))) is NodeState.READY
    again = plan(CORDONED, known=as_known(plan(node(), known=since(19))))
    assert again.records[0].since == NOW


# --- Who plays


@pytest.mark.parametrize(
    ("presence", "occupied", "held"),
    [
        (Presence.ACTIVE, True, True),
        (Presence.UNKNOWN, True, False),
        (None, True, False),
        (Presence.IDLE, False, False),
    ],
)
def test_the_marks_of_a_pod_say_who_plays(presence: Presence | None, *, occupied: bool, held: bool) -> None:
    """Written where they differ, and only there."""
    presences = {} if presence is None else {"chess1": presence}
    for was_occupied in (True, False):
        for was_held in (True, False):
            guest = replace(GUEST, is_occupied=was_occupied, is_held=was_held)
            marks = [one for one in plan(node(), guests=(guest,), presences=presences).actions]
            expected = [] if (was_occupied, was_held) == (occupied, held) else [Occupy(guest, occupied, held)]
            assert marks == expected


def test_a_node_that_is_no_game_node_is_none_of_ours() -> None:
    """It is in no list, and nothing is done about it."""
    system = node(silent_for=600, labels={"workload": "system"})
    assert plan(system, guests=()) == NodePlan()
