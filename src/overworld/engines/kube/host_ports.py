"""Players who come in by ports of the node itself. Pure."""

from __future__ import annotations

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


def see_host(pod: Pod, node: NodeSeen | None) -> WayIn | None:
    """Where players reach a pod that has ports of its node: the node's public address, else its own. None for a pod
    without such ports, no host for one whose node is not known."""
    return WayIn(hosts=_hosts(node), annotations={}) if pod.has_host_ports else None


class NodeHosts:
    """Tells the rare news of a node, another address, from the many that are none."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}

    def has_changed(self, name: str, node: NodeSeen | None) -> bool:
        """Whether players reach it at another address than at the last call."""
        hosts = _hosts(node)
        has_changed = self._known.get(name, ()) != hosts
        if hosts:
            self._known[name] = hosts
        else:
            self._known.pop(name, None)
        return has_changed


def _hosts(node: NodeSeen | None) -> tuple[str, ...]:
    return () if node is None else (*node.external_ips, *node.internal_ips)[:1]


def say_forbidden(message: str) -> str | None:
    """What the operator has to do where a pod was refused for its ports of the node; None where it was not."""
    if "PodSecurity" not in message or "hostPort" not in message:
        return None
    return (
        "The games' namespace does not allow ports of nodes: the operator has to replace its Pod Security by the "
        f"policy of the network mode direct (docs/direct.md). {message}"
    )
