"""A node: one machine of a cluster, as seen. Engines without nodes of their own have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from overworld.domain.conditions import Truth


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
