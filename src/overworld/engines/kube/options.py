"""What an operator decides once for all servers of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServiceType(StrEnum):
    """How a server's ports leave the cluster. ``LOAD_BALANCER`` needs a cloud, or a balancer such as MetalLB."""

    LOAD_BALANCER = "LoadBalancer"
    CLUSTER_IP = "ClusterIP"


@dataclass(frozen=True, slots=True)
class KubeOptions:
    """Names and sizes in the cluster.

    ``namespace`` holds all game servers and nothing else. A game's image is ``registry/<image>:image_tag``.
    ``storage_class`` should keep its volumes (``Retain``). ``cpu_request_millis`` is what the scheduler counts for a
    server; there is no CPU limit. ``kubelet_port`` serves the metrics of a node.
    ``steward_image`` is Overworld's own image; None: ``registry/overworld:image_tag``. ``steward_memory_mib`` is the
    most that a steward may use. ``steward_seconds`` is the longest life of one without a game, and
    ``steward_idle_seconds`` how long that one waits for more to do: its disk would have to be attached anew.
    ``priority_class`` puts games above the placeholders that keep room for them; None: the cluster's default.
    """

    namespace: str = "overworld-games"
    registry: str = "gameregistry.azurecr.io"
    image_tag: str = "latest"
    storage_class: str = "overworld-world"
    world_size_mib: int = 8192
    service_type: ServiceType = ServiceType.LOAD_BALANCER
    cpu_request_millis: int = 250
    kubelet_port: int = 10250
    priority_class: str | None = None
    steward_image: str | None = None
    steward_memory_mib: int = 512
    steward_seconds: int = 3 * 3600
    steward_idle_seconds: int = 30
