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
