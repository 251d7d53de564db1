"""A node: one machine of a cluster. Engines without nodes of their own have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from overworld.domain.conditions import Truth
from overworld.domain.servers import ServerId


@dataclass(frozen=True, slots=True)
class Taint:
    """A mark that keeps pods away from a node (``effect`` NoSchedule, PreferNoSchedule) or drives them off it
    (NoExecute)."""

    key: str
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """One node as the cluster tells of it.

    ``uid`` is of this very Node object: a node that is removed and comes back has another, one that only restarts has
    not. ``ready`` UNKNOWN means that its kubelet fell silent, FALSE that it says itself that it cannot run pods;
    ``ready_since`` is when that last changed. ``provider_id`` names its machine in the cloud; empty without one.
    """

    name: str
    uid: str
    ready: Truth
    ready_since: datetime
    ready_says: str = ""
    provider_id: str = ""
    external_ips: tuple[str, ...] = ()
    internal_ips: tuple[str, ...] = ()
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether its kubelet answers and runs pods."""
        return self.ready is Truth.TRUE


@dataclass(frozen=True, slots=True)
class Guest:
    """A server's pod on a node, not over yet: nothing else may write its world while it may run.

    ``is_ending``: asked to end. ``is_occupied`` and ``is_held`` are the marks that it carries: nobody evicts it; the
    autoscaler does not take its node away.
    """

    server_id: ServerId
    pod: str
    node: str
    is_ending: bool = False
    is_occupied: bool = True
    is_held: bool = False


class NodeState(StrEnum):
    """A node in one word."""

    READY = "ready"
    DRAINING = "draining"  # answers, and takes no new pods: its servers move away
    SILENT = "silent"  # does not answer; it may only be busy, or nothing of ours is on it
    UNCONFIRMED = "unconfirmed"  # has not answered for too long; whether it still writes worlds is being found out
    NEEDS_WORD = "needs_word"  # the same, and only an operator can tell
    LOST = "lost"  # known not to write any world: its servers are freed
    RETURNED = "returned"  # was lost and answers again; gets no pods until it is seen to be empty


class LossProof(StrEnum):
    """How it is known that nothing on a node writes any more."""

    SHUT_DOWN = "ShutDown"
    MACHINE_STOPPED = "MachineStopped"
    MACHINE_GONE = "MachineGone"
    OPERATORS_WORD = "OperatorsWord"
    MARKED_BY_OTHERS = "MarkedByOthers"
    REMOVED = "Removed"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What is written of a node, for people and for the next controller. ``since`` is when its state began;
    ``message`` is a sentence that begins with "It"."""

    name: str
    uid: str
    state: NodeState
    message: str
    since: datetime
    provider_id: str = ""


@dataclass(frozen=True, slots=True)
class NodeWord:
    """An operator's word that the node of this ``uid`` is off and stays off. It counts for the silence that it was
    given in, and for no later one."""

    uid: str
    name: str
    account_id: str
    said_at: datetime
