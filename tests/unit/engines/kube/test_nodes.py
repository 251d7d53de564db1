"""Nodes as the cluster writes them, in the words of the domain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from overworld.domain.conditions import Truth
from overworld.domain.nodes import NodeSeen, Taint
from overworld.engines.kube.nodes import Node, see_node


def seen(**changes: Any) -> NodeSeen:
    """A node as the API server gives it, its status or spec as the test says."""
    node: dict[str, Any] = {
        "metadata": {
            "name": "pool-1",
            "uid": "u1",
            "resourceVersion": "7",
            "creationTimestamp": "2030-01-01T00:00:00Z",
            "labels": {"workload": "gameserver"},
        },
        "spec": {},
        "status": {},
    }
    node |= changes
    return see_node(msgspec.json.decode(msgspec.json.encode(node), type=Node))


def test_everything_that_is_read_of_a_node() -> None:
    """Addresses by kind, taints, machine, cordon and the Ready condition with its time."""
    node = seen(
        spec={
            "providerID": "azure:///subscriptions/s",
            "unschedulable": True,
            "taints": [{"key": "workload", "value": "gameserver", "effect": "NoSchedule"}],
        },
        status={
            "addresses": [
                {"type": "InternalIP", "address": "10.0.0.4"},
                {"type": "ExternalIP", "address": "203.0.113.7"},
                {"type": "ExternalIP", "address": "2001:db8::7"},
                {"type": "Hostname", "address": "pool-1"},
            ],
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {
                    "type": "Ready",
                    "status": "Unknown",
                    "message": "Kubelet stopped posting node status.",
                    "lastTransitionTime": "2030-01-01T12:00:00Z",
                },
            ],
            "images": [{"names": ["x"], "sizeBytes": 1}],
        },
    )
    assert node == NodeSeen(
        name="pool-1",
        uid="u1",
        ready=Truth.UNKNOWN,
        ready_since=datetime(2030, 1, 1, 12, tzinfo=UTC),
        ready_says="Kubelet stopped posting node status.",
        provider_id="azure:///subscriptions/s",
        external_ips=("203.0.113.7", "2001:db8::7"),
        internal_ips=("10.0.0.4",),
        unschedulable=True,
        taints=(Taint("workload", "gameserver", "NoSchedule"),),
        labels={"workload": "gameserver"},
    )
    assert not node.is_ready


def test_a_node_that_never_said_anything_is_silent_since_it_was_made() -> None:
    """No Ready condition is no Ready node."""
    node = seen()
    assert node.ready is Truth.UNKNOWN
    assert node.ready_since == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_ready_node_is_ready() -> None:
    """And nothing else makes it so."""
    assert seen(status={"conditions": [{"type": "Ready", "status": "True"}]}).is_ready
    assert not seen(status={"conditions": [{"type": "Ready", "status": "False"}]}).is_ready
