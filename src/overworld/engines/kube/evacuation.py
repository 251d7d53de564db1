"""Nodes of a cluster for the controller: seen through the watches, changed by few and careful writes.

Rights, besides the engine's own: ``nodes`` (get, list, watch, patch) in the whole cluster, ``pods/attach`` (get,
create) in the games' namespace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from lightkube import KubeConfig

from overworld.domain.errors import BadInput, Conflict, EngineRefused, EngineUnavailable, Unavailable
from overworld.domain.nodes import Guest, NodeSeen
from overworld.domain.servers import Place
from overworld.engines.kube.client import KubeClient, Missing
from overworld.engines.kube.console import KubeConsole
from overworld.engines.kube.models import Pod
from overworld.engines.kube.names import LOST, OCCUPIED, OUT_OF_SERVICE, SAFE_TO_EVICT
from overworld.engines.kube.nodes import Node, NodeWatch, see_node
from overworld.engines.kube.paths import NODES, Paths
from overworld.engines.kube.state import ClusterState
from overworld.engines.kube.watch import WatchTimes
from overworld.engines.nodes import Nodes

Json = dict[str, Any]
NOWHERE = Place(pod=None, takes_commands=False, runs=False, last_exit=None)


class KubeNodes(Nodes):
    """See ``Nodes``. One per engine. ``on_change`` is called with the name of each node that changed."""

    def __init__(
        self,
        config: KubeConfig,
        client: KubeClient,
        paths: Paths,
        state: ClusterState,
        *,
        on_change: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._tell = on_change
        self._client = client
        self._paths = paths
        self._state = state
        self._watch = NodeWatch(client, self._on_change)
        self._console = KubeConsole(
            config, paths.namespace, lambda server_id: state.observed(server_id).place or NOWHERE
        )
        self._changed = asyncio.Event()

    async def start(self, times: WatchTimes) -> None:
        """Begin to watch; returns once all nodes are known. Raises EngineUnavailable if that takes too long."""
        await self._watch.start(times)

    async def close(self) -> None:
        """Stop watching. Safe to call twice."""
        await self._watch.close()
        self._console.close()

    def find(self, name: str) -> NodeSeen | None:
        """The node of that name, from the cache."""
        return self._watch.find(name)

    @property
    def is_complete(self) -> bool:
        return self._watch.is_complete and self._state.is_complete

    def seen(self) -> tuple[NodeSeen, ...]:
        return tuple(self._watch.seen())

    def guests(self) -> tuple[Guest, ...]:
        found = (
            pod
            for server_id in sorted(self._state.pods.server_ids())
            for pod in self._state.pods.of(server_id).values()
            # Stewards without a game tolerate no node that is lost, and are gone soon anyway.
            if server_id and pod.spec.node_name and not pod.is_over and not pod.is_steward
        )
        return tuple(
            Guest(
                server_id=pod.server_id,
                pod=pod.metadata.name,
                node=pod.spec.node_name,
                is_ending=pod.metadata.deletion_timestamp is not None,
                is_occupied=pod.metadata.labels.get(OCCUPIED) == "true",
                is_held=pod.metadata.annotations.get(SAFE_TO_EVICT) == "false",
            )
            for pod in found
        )

    async def until_changed(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    async def mark_lost(self, node: NodeSeen) -> None:
        written = await self._read_node(node)
        mark = {"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}
        await self._write_taints(node, written, {LOST: node.uid}, [mark])

    async def clear_lost(self, node: NodeSeen) -> None:
        await self._write_taints(node, await self._read_node(node), {LOST: None}, [])

    async def release(self, guest: Guest, node: NodeSeen | None) -> None:
        try:
            now = see_node(msgspec.json.decode(await self._client.get(f"{NODES}/{guest.node}"), type=Node))
        except Missing:
            now = None
        if now is not None and (node is None or _heard(now) != _heard(node) or now.is_ready):
            raise EngineUnavailable(f"The node {guest.node} of server {guest.server_id} is there: nothing is freed.")
        pod = self._state.pods.find(guest.pod)
        if pod is not None:
            await self._client.delete(f"{self._paths.pods}/{guest.pod}", uid=pod.metadata.uid, at_once=True)

    async def move(self, guest: Guest) -> None:
        pod = self._state.pods.find(guest.pod)
        if pod is not None and pod.metadata.deletion_timestamp is None:
            await self._client.delete(f"{self._paths.pods}/{guest.pod}", uid=pod.metadata.uid)

    async def announce(self, guest: Guest, command: str) -> None:
        try:
            await asyncio.to_thread(self._console.send, guest.server_id, command)
        except (Conflict, BadInput) as error:
            raise EngineRefused("NotAnnounced", error.detail) from error
        except Unavailable as error:
            raise EngineUnavailable(error.detail) from error

    async def occupy(self, guest: Guest, *, occupied: bool, held: bool) -> None:
        changes = {
            "metadata": {
                "labels": {OCCUPIED: "true" if occupied else None},
                "annotations": {SAFE_TO_EVICT: "false" if held else None},
            }
        }
        try:
            changed = await self._client.merge(f"{self._paths.pods}/{guest.pod}", changes)
        except Missing:
            return
        self._state.pods.remember(msgspec.json.decode(changed, type=Pod))

    async def _read_node(self, node: NodeSeen) -> bytes:
        """The node as it is now: what a watch tells may be old."""
        try:
            written = await self._client.get(f"{NODES}/{node.name}")
        except Missing as error:
            raise EngineUnavailable(f"The node {node.name} was removed in the meantime.") from error
        now = see_node(msgspec.json.decode(written, type=Node))
        if _heard(now) != _heard(node):
            raise EngineUnavailable(f"The node {node.name} has changed in the meantime.")
        return written

    async def _write_taints(
        self, node: NodeSeen, written: bytes, annotations: dict[str, str | None], marks: list[Json]
    ) -> None:
        """Our mark for what there was of it. All taints are written, others' as they are, and only on the very version
        that was read: another one is EngineUnavailable."""
        read: Json = msgspec.json.decode(written)
        others = [taint for taint in read["spec"].get("taints", ()) if taint["key"] != OUT_OF_SERVICE]
        changes = {
            "metadata": {"resourceVersion": read["metadata"]["resourceVersion"], "annotations": annotations},
            "spec": {"taints": [*others, *marks]},
        }
        try:
            changed = await self._client.merge(f"{NODES}/{node.name}", changes)
        except Missing as error:
            raise EngineUnavailable(f"The node {node.name} was removed in the meantime.") from error
        self._watch.remember(msgspec.json.decode(changed, type=Node))

    def _on_change(self, name: str) -> None:
        self._changed.set()
        self._tell(name)


def _heard(node: NodeSeen) -> tuple[object, ...]:
    """Which node it is, and what was last heard of it: equal while it neither fell silent nor answered in between."""
    return node.uid, node.ready, node.ready_since
