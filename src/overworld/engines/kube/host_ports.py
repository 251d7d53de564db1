"""Players who come in by ports of the node itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from overworld.domain.nodes import NodeSeen
from overworld.domain.observed import Want, WayIn
from overworld.domain.servers import Endpoint, Network
from overworld.engines.kube.models import Pod


def render_port(want: Want, endpoint: Endpoint) -> dict[str, object]:
    """A port of the game's container. In the network mode direct the node has it too, under the same number: a game
    that tells a list of servers where it is tells the truth."""
    port: dict[str, object] = {
        "name": endpoint.name[:15],
        "containerPort": endpoint.port,
        "protocol": endpoint.protocol.value.upper(),
    }
    return port | ({"hostPort": endpoint.port} if want.network is Network.DIRECT else {})


def see_host(pod: Pod | None, node: NodeSeen | None) -> WayIn | None:
    """Where players reach a pod that has ports of its node: the node's public address, else its own; None for a pod
    without such ports, no host for one without a node."""
    if pod is None or not pod.has_host_ports:
        return None
    return WayIn(hosts=() if node is None else (*node.external_ips, *node.internal_ips)[:1], annotations={})


def is_forbidden(messages: Iterable[str]) -> bool:
    """Whether Pod Security refused a pod for its ports of the node."""
    return any("violates PodSecurity" in message and "hostPort" in message for message in messages)


FORBIDDEN = (
    "The games' namespace does not allow ports of nodes: the operator has to install the chart with "
    "network.direct=true, which replaces Pod Security by a policy that is as strict but for these ports."
)
