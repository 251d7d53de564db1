"""What is known in one look at the nodes, what can be done about them, and the plan that is made of it: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from overworld.cloud.base import MachineState
from overworld.controller.drains import Move, Occupy, Warn
from overworld.domain.activity import Presence
from overworld.domain.events import Level, NewEvent
from overworld.domain.nodes import Guest, NodeRecord, NodeSeen, NodeWord
from overworld.domain.servers import ServerId


@dataclass(frozen=True, slots=True)
class NodeRules:
    """What an operator decides. ``loss_grace``: how long a node may be silent before anybody asks what became of it.
    ``power_off_after`` (of silence, not below ``loss_grace``): a machine that runs and is silent for this long is
    powered off. ``drain_deadline``: a node that is to be emptied is left this long after it was first seen to be,
    whoever plays."""

    loss_grace: timedelta = timedelta(seconds=60)
    power_off_after: timedelta = timedelta(minutes=3)
    drain_deadline: timedelta = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class NodeWorld:
    """All that one look knows.

    ``presences`` are fresh ones only: a server that is not in it is unknown. ``known`` is by the nodes' names, the
    rest by their uids. ``fates``: what the cloud said of a machine in this very look. ``refusals``: why it tells or
    does nothing about one until somebody acts. ``warned``: the last mark that players of a server on a node (its uid)
    were warned at.
    """

    nodes: tuple[NodeSeen, ...]
    guests: tuple[Guest, ...]
    presences: Mapping[ServerId, Presence] = field(default_factory=dict)
    known: Mapping[str, NodeRecord] = field(default_factory=dict)
    words: Mapping[str, NodeWord] = field(default_factory=dict)
    fates: Mapping[str, MachineState] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    warned: Mapping[tuple[str, ServerId], timedelta] = field(default_factory=dict)

    def by_node(self) -> Mapping[str, tuple[Guest, ...]]:
        """What is on each node that has anything, by the node's name."""
        found: dict[str, tuple[Guest, ...]] = {}
        for guest in self.guests:
            found[guest.node] = (*found.get(guest.node, ()), guest)
        return found


@dataclass(frozen=True, slots=True)
class PowerOff:
    """Pull the plug of a machine that runs and does not answer."""

    node: NodeSeen


@dataclass(frozen=True, slots=True)
class MarkLost:
    """Tell the cluster that the node is lost, unless it changed since it was seen."""

    node: NodeSeen


@dataclass(frozen=True, slots=True)
class ClearLost:
    """Take our mark off a node that answers and is empty."""

    node: NodeSeen


@dataclass(frozen=True, slots=True)
class Release:
    """Remove a pod whose node cannot write any more. Only after the node's ``MarkLost``; ``node`` None: it was removed,
    which has to be seen once more."""

    guest: Guest
    node: NodeSeen | None
    because: str


Action = PowerOff | MarkLost | ClearLost | Release | Move | Warn | Occupy


@dataclass(frozen=True, slots=True)
class NodePlan:
    """``actions`` in order; of one node, nothing after one that failed. ``records`` and ``events`` are to be stored,
    ``forget`` (names) and ``forget_words`` (uids) to be removed. ``troubles`` is for the owners: what to say of a
    server instead of what its pod says. ``is_calm``: nothing is expected to happen soon."""

    actions: tuple[Action, ...] = ()
    records: tuple[NodeRecord, ...] = ()
    forget: tuple[str, ...] = ()
    forget_words: tuple[str, ...] = ()
    events: tuple[NewEvent, ...] = ()
    troubles: Mapping[ServerId, str] = field(default_factory=dict)
    is_calm: bool = True

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to do and nothing to write."""
        return not (self.actions or self.records or self.forget or self.forget_words or self.events)


def event_of(action: Action) -> NewEvent | None:
    """What the owner is told once the action was carried out."""
    match action:
        case Release(guest=guest, because=because):
            says = (
                f"Its node {guest.node} is lost ({because}). The world was freed: the server starts on another node, "
                "with the same address."
            )
            return NewEvent(guest.server_id, "NodeLost", says, Level.WARNING)
        case Move(guest=guest, because=because):
            return NewEvent(guest.server_id, "NodeDrained", f"It leaves its node {guest.node}: {because}", Level.INFO)
        case _:
            return None
