"""The contract suite's third stage: a namespace of a real cluster."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from cluster.harness.cluster import Cluster
from cluster.harness.commands import CommandFailed
from cluster.harness.provisioner import DISK
from cluster.rights import ALL, WEB, Accounts
from cluster.scripted_image import NAME, REGISTRY, STEWARD_IMAGE, TAG, write_scripted_image
from contract.stages import SHORT_GRACE, Stage
from games.parts import launch_of
from overworld.domain.observed import Launch, Want
from overworld.domain.servers import Place, ServerId
from overworld.engines.base import Console, Engine
from overworld.engines.kube.console import KubeConsole
from overworld.engines.kube.engine import KubeEngine
from overworld.engines.kube.options import KubeOptions, ServiceType
from waiting import eventually, wait_until

STORAGE_CLASS = "world"
"""Of the harness's provisioner: WaitForFirstConsumer, Retain."""


class KubeStage(Stage):
    """Real pods in a namespace of the test's own, under Pod Security *restricted*, with the rights of the chart."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.namespace = f"games-{self._prefix}"
        self.options = KubeOptions(
            namespace=self.namespace,
            registry=REGISTRY,
            image_tag=TAG,
            storage_class=STORAGE_CLASS,
            world_size_mib=64,
            service_type=ServiceType.CLUSTER_IP,
            cpu_request_millis=10,
            steward_idle_seconds=5,
            steward_image=STEWARD_IMAGE,
        )
        self._consoles: list[KubeConsole] = []
        self._lost: dict[ServerId, Any] = {}
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})
        wait_until(self._has_account, 20, "the namespace has its service account")
        self.accounts = Accounts(cluster, self.namespace)
        self.config = self.accounts.config(ALL)
        self.web_config = self.accounts.config(WEB)

    def create(self, manifest: dict[str, object]) -> None:
        """Make an object of the cluster."""
        self.cluster.kubectl("create", "--filename=-", stdin=json.dumps(manifest))

    def kubectl(self, *arguments: str) -> str:
        """kubectl in the stage's namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)

    def _has_account(self) -> bool:
        return "default" in self.kubectl("get", "serviceaccounts", "--output=name")

    def make_engine(self) -> KubeEngine:
        return KubeEngine(self.config, self.options)

    def launch(self, engine: Engine, want: Want, part: str, *, seconds: float | None = None) -> Launch:
        launch = launch_of(
            part,
            engine.layout(want.server_id, want.world_generation),
            arguments=(str(seconds or 0.3),) if part == "needs-long" else None,
            grace=SHORT_GRACE if part == "ignores-stop" else timedelta(seconds=5),
        )
        return replace(launch, image=NAME)

    def console(self) -> Console:
        console = KubeConsole(self.web_config, self.namespace, self.place)
        self._consoles.append(console)
        return console

    def place(self, server_id: ServerId) -> Place:
        """What wiring would read from the status row."""
        engine = self.players[-1].engine
        place = engine.observed(server_id).place
        assert place is not None
        return place

    def crash(self, server_id: ServerId) -> None:
        self.console().send(server_id, "crash 1")

    def write(self, server_id: ServerId, count: int) -> None:
        self.console().send(server_id, f"write {count}")

    async def until_process(self, engine: Engine, server_id: ServerId) -> None:
        def has_begun() -> bool:
            told = self.kubectl("get", "pods", "--output=jsonpath={.items[*].status.containerStatuses[*].started}")
            return told == "true"

        await eventually(has_begun, 10, f"the process of {server_id} runs")

    async def lose_world(self, server_id: ServerId) -> None:
        claim = json.loads(self.kubectl("get", "persistentvolumeclaim", f"{server_id}-world-1", "--output=json"))
        self._lost[server_id] = claim
        self.kubectl("delete", "persistentvolumeclaim", claim["metadata"]["name"])
        await eventually(lambda: not self._worlds(server_id), 10, "the loss is noticed")

    async def bring_world_back(self, server_id: ServerId) -> None:
        claim = self._lost.pop(server_id)
        for name in ("uid", "resourceVersion", "creationTimestamp", "finalizers", "managedFields"):
            claim["metadata"].pop(name, None)
        self.create(claim)
        await eventually(lambda: self._worlds(server_id), 10, "the world is noticed")

    def _worlds(self, server_id: ServerId) -> set[int]:
        """What any of the engines still sees."""
        return {world for player in self.players for world in player.engine.observed(server_id).worlds}

    def end_all(self) -> None:
        for console in self._consoles:
            console.close()
        self.kubectl("delete", "deployments", "--all", "--wait=false")
        for pod in self.kubectl("get", "pods", "--output=name").split():
            with suppress(CommandFailed):
                self.kubectl("patch", pod, "--type=merge", '--patch={"metadata":{"finalizers":null}}')
                self.kubectl("delete", pod, "--force", "--grace-period=0", "--wait=false")
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")


def prepare_cluster(cluster: Cluster, archive: Path) -> None:
    """What every stage on it needs: the scripted image on all nodes, and a class of volumes that are kept."""
    cluster.import_images(write_scripted_image(archive))
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": DISK,
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(storage_class))
