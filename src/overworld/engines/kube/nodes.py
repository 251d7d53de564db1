"""The nodes of the cluster, watched: what they are called, where they are reached, and whether they answer.

All of them, whatever their labels: a node that loses a label must not look like one that was removed. Rights: ``nodes``
(list, watch) in the whole cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct, field

from overworld.domain import nodes as domain
from overworld.domain.conditions import Truth
from overworld.domain.nodes import NodeSeen
from overworld.engines.kube.client import KubeClient
from overworld.engines.kube.models import Condition, Object
from overworld.engines.kube.paths import NODES
from overworld.engines.kube.watch import Cache, ListWatch, WatchTimes

COMPLETE_WITHIN_SECONDS = 30.0
_BEGINNING = datetime.fromtimestamp(0, UTC)


class Taint(Struct, frozen=True):
    """A mark on a node."""

    key: str
    value: str = ""
    effect: str = ""


class NodeAddress(Struct, frozen=True):
    """One way to reach a node: ``type`` is InternalIP, ExternalIP or Hostname."""

    type: str
    address: str


class NodeSpec(Struct, frozen=True):
    """Its machine, and what it may run."""

    provider_id: str = field(default="", name="providerID")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(Struct, frozen=True):
    """What its kubelet says, or what is said of a kubelet that says nothing."""

    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()


class Node(Object, frozen=True):
    """One machine."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def server_id(self) -> str:
        """A node is nobody's: the cache tells of it by its own name."""
        return self.metadata.name


class NodeWatch:
    """The nodes, live. ``on_change`` is called, on the event loop, with the name of each that changed (heartbeats that
    change nothing else may count)."""

    def __init__(self, client: KubeClient, on_change: Callable[[str], None]) -> None:
        self._client = client
        self._cache: Cache[Node] = Cache(on_change)
        self._watch: ListWatch[Node] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, times: WatchTimes) -> None:
        """Begin to watch; returns once all are known. Raises EngineUnavailable if that takes too long."""
        self._watch = ListWatch(self._client, NODES, Node, self._cache, times, selector=None)
        self._task = asyncio.get_running_loop().create_task(self._watch.run())
        await self._watch.until_complete(COMPLETE_WITHIN_SECONDS)

    async def close(self) -> None:
        """Stop watching. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def is_complete(self) -> bool:
        """Whether all were listed: before that, a node that is not found may be there."""
        return self._watch is not None and self._watch.is_complete

    def seen(self) -> list[NodeSeen]:
        """Every node, ordered by name."""
        nodes = (self._cache.find(name) for name in sorted(self._cache.server_ids()))
        return [see_node(node) for node in nodes if node is not None]

    def find(self, name: str) -> NodeSeen | None:
        """The node of that name."""
        node = self._cache.find(name)
        return None if node is None else see_node(node)

    def remember(self, node: Node) -> None:
        """The answer to a write of our own."""
        self._cache.remember(node)


def see_node(node: Node) -> NodeSeen:
    """The node in the words of the domain. Pure. A node that never told whether it is ready counts as silent since it
    was made."""
    metadata, spec = node.metadata, node.spec
    ready = next((one for one in node.status.conditions if one.type == "Ready"), None)
    created = metadata.creation_timestamp or _BEGINNING
    return NodeSeen(
        name=metadata.name,
        uid=metadata.uid,
        ready=Truth(ready.status) if ready is not None and ready.status in {*Truth} else Truth.UNKNOWN,
        ready_since=(ready.last_transition_time if ready is not None else None) or created,
        ready_says=ready.message if ready is not None else "",
        provider_id=spec.provider_id,
        external_ips=_addresses(node, "ExternalIP"),
        internal_ips=_addresses(node, "InternalIP"),
        unschedulable=spec.unschedulable,
        taints=tuple(domain.Taint(taint.key, taint.value, taint.effect) for taint in spec.taints),
        labels=metadata.labels,
        annotations=metadata.annotations,
    )


def _addresses(node: Node, kind: str) -> tuple[str, ...]:
    return tuple(one.address for one in node.status.addresses if one.type == kind)
