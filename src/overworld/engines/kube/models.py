"""What is read of Kubernetes objects, and nothing else: decoding a whole Pod costs ten times as much."""

from __future__ import annotations

from datetime import datetime

from msgspec import Raw, Struct, field, structs

from overworld.engines.kube.names import (
    BASE_GENERATION,
    BEING_MADE,
    CONTAINER,
    SERVER,
    STEWARD,
    STEWARD_OF,
    UNFINISHED,
    UNWANTED,
    WORLD_GENERATION,
)


class Metadata(Struct, frozen=True, rename="camel"):
    """Of any object."""

    name: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None

    @property
    def world_generation(self) -> int:
        """Which world it is of or on; 0 if it does not say."""
        text = self.labels.get(WORLD_GENERATION, "")
        return int(text) if text.isdecimal() else 0


class Object(Struct, frozen=True, rename="camel"):
    """What every object has."""

    metadata: Metadata

    @property
    def server_id(self) -> str:
        """Whose it is; empty if it does not say."""
        labels = self.metadata.labels
        return labels.get(SERVER) or labels.get(STEWARD_OF, "")

    @property
    def version(self) -> int:
        """Ordered over all changes of one kind (Kubernetes 1.35 and newer promise that, etcd always did)."""
        return int(self.metadata.resource_version or "0")

    @property
    def essence(self) -> object:
        """Equal while nothing has changed that anybody decides from."""
        return structs.replace(self, metadata=structs.replace(self.metadata, resource_version=""))


class Condition(Struct, frozen=True, rename="camel"):
    """Of a Deployment or Pod."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class Terminated(Struct, frozen=True, rename="camel"):
    """The end of a container."""

    exit_code: int
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None


class Waiting(Struct, frozen=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class Running(Struct, frozen=True, rename="camel"):
    """Since when a container runs."""

    started_at: datetime | None = None


class ContainerState(Struct, frozen=True):
    """At most one of the three."""

    running: Running | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct, frozen=True, rename="camel"):
    """One container of a pod. ``started``: its startup probe succeeded."""

    name: str
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(Struct, frozen=True, rename="camel"):
    """What the kubelet and the scheduler say."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    host_ip: str = field(default="", name="hostIP")
    pod_ip: str = field(default="", name="podIP")
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class ContainerPort(Struct, frozen=True, rename="camel"):
    """A port, and the node's port that leads to it (0: none)."""

    host_port: int = 0


class PodContainer(Struct, frozen=True):
    """Whether there is a standard input, and how players come in."""

    name: str
    stdin: bool = False
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Struct, frozen=True, rename="camel"):
    """Where it runs."""

    node_name: str = ""
    containers: tuple[PodContainer, ...] = ()
    init_containers: tuple[PodContainer, ...] = ()


class Pod(Object, frozen=True):
    """One life of a server's process, from its first container to its last."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def game(self) -> ContainerStatus | None:
        """The container of the game, once the kubelet has seen it."""
        return next((status for status in self.status.container_statuses if status.name == CONTAINER), None)

    def runs(self, container: str) -> bool:
        """Whether programs can be run in that container."""
        statuses = (*self.status.container_statuses, *self.status.init_container_statuses)
        return any(one.name == container and one.state.running is not None for one in statuses)

    @property
    def is_steward(self) -> bool:
        """Whether it is a steward alone, and no server's process."""
        return STEWARD_OF in self.metadata.labels

    @property
    def worlds(self) -> frozenset[int]:
        """The generations that it has."""
        texts = (self.metadata.labels.get(name, "") for name in (WORLD_GENERATION, BASE_GENERATION))
        return frozenset(int(text) for text in texts if text.isdecimal())

    @property
    def has_steward(self) -> bool:
        """Whether there is a steward in it. Pods from before there were any have none."""
        spec = self.spec
        return any(one.name == STEWARD for one in (*spec.containers, *spec.init_containers))

    @property
    def has_begun(self) -> bool:
        """Whether anything in it runs or ran."""
        statuses = (*self.status.container_statuses, *self.status.init_container_statuses)
        return any(one.state.running is not None or one.state.terminated is not None for one in statuses)

    @property
    def steward_runs(self) -> bool:
        """Whether programs can be run in its steward."""
        return self.runs(STEWARD)

    @property
    def was_left(self) -> bool:
        """Whether its steward has ended, so that nobody wants what else may run in it. Never so of a server's pod,
        whose steward begins before the game and ends after it."""
        return any(one.name == STEWARD and one.state.terminated is not None for one in self.status.container_statuses)

    @property
    def accepts_commands(self) -> bool:
        """Whether what is attached reaches the game."""
        return any(container.stdin for container in self.spec.containers if container.name == CONTAINER)

    @property
    def is_lost(self) -> bool:
        """Whether it is over by somebody's word alone: its kubelet never told how its game ended."""
        game = self.game
        return self.is_over and game is not None and game.state.running is not None

    @property
    def has_host_ports(self) -> bool:
        """Whether players come in by ports of its node."""
        return any(port.host_port for container in self.spec.containers for port in container.ports)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs, and nothing will again.

        A pod of grace 0 was given up by somebody who knows (its kubelet, or an operator after a node's death).
        """
        metadata = self.metadata
        if self.status.phase in {"Succeeded", "Failed"}:
            return True
        if metadata.deletion_timestamp is None:
            return False
        return metadata.deletion_grace_period_seconds == 0 or not self.spec.node_name


class PodTemplate(Struct, frozen=True):
    """Under what the next pod will run."""

    metadata: Metadata = Metadata()


class DeploymentSpec(Struct, frozen=True):
    """Whether it is wanted running."""

    replicas: int = 1
    template: PodTemplate = PodTemplate()


class DeploymentStatus(Struct, frozen=True):
    """Why there is no pod."""

    conditions: tuple[Condition, ...] = ()


class Deployment(Object, frozen=True):
    """The wish for a process."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()

    @property
    def essence(self) -> object:
        """Its conditions but for those that tell of every pod's coming and going."""
        told = tuple(one for one in self.status.conditions if one.type not in {"Available", "Progressing"})
        revision = "deployment.kubernetes.io/revision"
        annotations = {name: text for name, text in self.metadata.annotations.items() if name != revision}
        metadata = structs.replace(self.metadata, resource_version="", annotations=annotations)
        return (metadata, self.spec, told)


class ClaimResources(Struct, frozen=True):
    """How large its volume should be."""

    requests: dict[str, str] = {}


class ClaimSpec(Struct, frozen=True, rename="camel"):
    """Which volume it has."""

    volume_name: str = ""
    storage_class_name: str = ""
    resources: ClaimResources = ClaimResources()


class ClaimStatus(Struct, frozen=True, rename="camel"):
    """Whether it has one, how large it is, and how its growth goes."""

    phase: str = ""
    capacity: dict[str, str] = {}
    conditions: tuple[Condition, ...] = ()
    allocated_resource_statuses: dict[str, str] = {}


class Claim(Object, frozen=True):
    """One generation of a world."""

    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()

    @property
    def is_world(self) -> bool:
        """Whether it is whole, and not on its way out."""
        return self.metadata.deletion_timestamp is None and UNFINISHED not in self.metadata.annotations

    @property
    def is_in_share(self) -> bool:
        """Whether it is a folder in a share: those have no class."""
        return not self.spec.storage_class_name

    @property
    def is_being_made(self) -> bool:
        """Whether a worker is at it."""
        return self.metadata.deletion_timestamp is None and self.metadata.annotations.get(UNFINISHED) == BEING_MADE

    @property
    def is_unwanted(self) -> bool:
        """Whether it will never be a world."""
        return self.metadata.annotations.get(UNFINISHED) == UNWANTED


class Ingress(Struct, frozen=True):
    """An address that the load balancer serves."""

    ip: str = ""
    hostname: str = ""


class LoadBalancer(Struct, frozen=True):
    """What the cloud's controller says."""

    ingress: tuple[Ingress, ...] = ()


class ServiceSpec(Struct, frozen=True):
    """How the ports leave the cluster. ``cluster_ip`` leads to it inside."""

    type: str = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")


class ServiceStatus(Struct, frozen=True, rename="camel"):
    """Its addresses."""

    load_balancer: LoadBalancer = LoadBalancer()


class Service(Object, frozen=True):
    """How players come in."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ListMetadata(Struct, frozen=True, rename={"resource_version": "resourceVersion", "next_page": "continue"}):
    """Of a page of a list."""

    resource_version: str = ""
    next_page: str = ""


class Page(Struct, frozen=True):
    """A page of a list; its items are decoded by who knows their kind."""

    metadata: ListMetadata
    items: tuple[Raw, ...] = ()


class Event(Struct, frozen=True):
    """One line of a watch."""

    type: str
    object: Raw


class Failure(Struct, frozen=True):
    """A Status object: why a request failed."""

    status: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
