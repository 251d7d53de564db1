"""Where players reach a pod with ports of its node."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest

from overworld.domain.conditions import Truth
from overworld.domain.nodes import NodeSeen
from overworld.domain.observed import WayIn
from overworld.engines.kube.host_ports import NodeHosts, say_forbidden, see_host
from overworld.engines.kube.models import Pod


def pod(host_port: int = 40001) -> Pod:
    """A pod on node-1."""
    port = {"containerPort": 40001} | ({"hostPort": host_port} if host_port else {})
    containers = [{"name": "game", "ports": [port]}, {"name": "other"}]
    content = {"metadata": {"name": "x"}, "spec": {"nodeName": "node-1", "containers": containers}}
    return msgspec.json.decode(json.dumps(content), type=Pod)


def node(*, external: tuple[str, ...] = (), internal: tuple[str, ...] = ("10.0.0.4",)) -> NodeSeen:
    """A node with these addresses."""
    return NodeSeen(
        name="node-1",
        uid="1",
        ready=Truth.TRUE,
        ready_since=datetime(2026, 1, 1, tzinfo=UTC),
        ready_says="",
        provider_id="",
        external_ips=external,
        internal_ips=internal,
        unschedulable=False,
        taints=(),
        labels={},
        annotations={},
    )


@pytest.mark.parametrize(
    ("seen", "hosts"),
    [
        (node(external=("20.1.2.3",)), ("20.1.2.3",)),
        (node(), ("10.0.0.4",)),
        (node(internal=()), ()),
        (None, ()),
    ],
)
def test_the_public_address_of_the_node_comes_first(seen: NodeSeen | None, hosts: tuple[str, ...]) -> None:
    """Else its own; a node that is not known has none."""
    assert see_host(pod(), seen) == WayIn(hosts, {})


def test_a_pod_without_ports_of_its_node_has_no_such_way_in() -> None:
    """Its Service is its way in."""
    assert see_host(pod(host_port=0), node()) is None


def test_only_another_address_is_news() -> None:
    """A heartbeat wakes nobody; a node that goes and one that comes back do."""
    hosts = NodeHosts()
    assert hosts.has_changed("node-1", node())
    assert not hosts.has_changed("node-1", node())
    assert hosts.has_changed("node-1", node(external=("20.1.2.3",)))
    assert hosts.has_changed("node-1", None)
    assert not hosts.has_changed("node-1", None)


def test_a_refusal_of_pod_security_names_the_remedy() -> None:
    """And keeps the API server's own words; other refusals are not taken for it."""
    words = (
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": hostPort (container "game" uses hostPort 1)'
    )
    told = say_forbidden(words)
    assert told is not None
    assert "docs/direct.md" in told
    assert words in told
    assert say_forbidden('violates PodSecurity "restricted:latest": runAsNonRoot') is None
