"""Emptying a node that is to be emptied: its servers move when nobody plays, or when their time is up. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from overworld.controller.sentences import say_duration
from overworld.domain.activity import Presence
from overworld.domain.nodes import Guest, NodeSeen
from overworld.domain.servers import ServerId

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

URGENT = "the cloud takes its machine back"
URGENT_NOTICE = timedelta(seconds=10)
"""How long players have then: Azure gives a spot machine 30 s in all, and a world that is saved is worth more."""

DRAIN_TAINTS: Mapping[str, str] = {
    # The cloud takes the machine back. AKS (learn.microsoft.com/azure/aks/node-auto-drain), under its new and old name:
    "remediator.kubernetes.azure.com/unschedulable": URGENT,
    "remediator.aks.microsoft.com/unschedulable": URGENT,
    "cloud.google.com/impending-node-termination": URGENT,
    "aws-node-termination-handler/spot-itn": URGENT,
    # The cluster wants it empty. AKS cordons before an upgrade.
    UNSCHEDULABLE: "it is cordoned",
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler removes it",
    "karpenter.sh/disrupted": "node auto-provisioning replaces it",
}
"""Taints of nodes that are to be emptied, and why, the most urgent first. What only makes a node a candidate
(DeletionCandidateOfClusterAutoscaler) is not among them."""

WARN_AT = (timedelta(minutes=10), timedelta(minutes=5), timedelta(minutes=1))
"""How long before they have to leave players are told, longest first."""


@dataclass(frozen=True, slots=True)
class Draining:
    """A node that is to be emptied by then."""

    node: NodeSeen
    deadline: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Move:
    """End a server's pod gracefully, its world saved; the cluster starts it elsewhere."""

    guest: Guest
    because: str


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the players of a server; ``mark`` is remembered, so that they are told once at each."""

    guest: Guest
    uid: str
    mark: timedelta
    text: str


@dataclass(frozen=True, slots=True)
class Occupy:
    """Mark a pod: ``occupied`` keeps everybody from evicting it, ``held`` the autoscaler from its node."""

    guest: Guest
    occupied: bool
    held: bool


def say_why_draining(node: NodeSeen) -> str | None:
    """Why the node is to be emptied; None if it is not. Of several reasons the most urgent."""
    keys = {taint.key for taint in node.taints} | ({UNSCHEDULABLE} if node.unschedulable else set())
    return next((why for key, why in DRAIN_TAINTS.items() if key in keys), None)


def drain_within(why: str, usual: timedelta) -> timedelta:
    """How long a node that is emptied for this reason may take."""
    return min(usual, URGENT_NOTICE) if why == URGENT else usual


def plan_drain(
    draining: Draining,
    guests: Iterable[Guest],
    presences: Mapping[ServerId, Presence],
    warned: Mapping[tuple[str, ServerId], timedelta],
    now: datetime,
) -> tuple[Move | Warn, ...]:
    """What to do with each server on the node. Only a fresh "nobody plays" is quiet: unknown is not."""
    actions: list[Move | Warn] = []
    for guest in guests:
        if guest.is_ending:
            continue
        if presences.get(guest.server_id) is Presence.IDLE:
            actions.append(Move(guest, f"{draining.why}, and nobody plays. It starts again on another node."))
        elif now >= draining.deadline:
            actions.append(
                Move(guest, f"{draining.why}, and it could wait no longer. It starts again on another node.")
            )
        else:
            last = warned.get((draining.node.uid, guest.server_id))
            actions += _warn(draining, guest, last, now)
    return tuple(actions)


def _warn(draining: Draining, guest: Guest, last: timedelta | None, now: datetime) -> Iterator[Warn]:
    left = draining.deadline - now
    mark = min((mark for mark in WARN_AT if left <= mark), default=None)
    if mark is None or (last is not None and last <= mark):
        return
    # To the mark where it was met, else (a deadline that is shorter than the mark) what is really left.
    told = mark if mark - left < timedelta(seconds=30) else timedelta(seconds=round(left.total_seconds()))
    text = f"This server moves to another machine in {say_duration(told)}. It saves the world and is back soon."
    yield Warn(guest, draining.node.uid, mark, text)


def plan_occupancy(
    guests: Iterable[Guest], presences: Mapping[ServerId, Presence], alive: Collection[str]
) -> Iterator[Occupy]:
    """The marks that differ from what is seen, on the nodes that are alive. A server of which it is not known whether
    somebody plays is occupied; the autoscaler is held off only by players who were seen."""
    for guest in guests:
        if guest.node not in alive or guest.is_ending:
            continue
        presence = presences.get(guest.server_id, Presence.UNKNOWN)
        wanted = (presence is not Presence.IDLE, presence is Presence.ACTIVE)
        if wanted != (guest.is_occupied, guest.is_held):
            yield Occupy(guest, *wanted)
