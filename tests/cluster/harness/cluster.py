"""A whole Kubernetes with two nodes on this machine, without a registry, a cloud or anything left behind.

with Cluster() as cluster:
    cluster.kubectl("get", "nodes")
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Node as NodeResource

from azure_standin.arm import resource_id
from azure_standin.installation import run_azure
from azure_standin.server import AzureStandIn
from azure_standin.share_folder import SharesInFolder
from cluster.harness.azure_resources import BALANCER
from cluster.harness.background import Background
from cluster.harness.balancer import Balancer
from cluster.harness.cloud_controller import CloudController
from cluster.harness.cloud_settings import CloudSettings
from cluster.harness.commands import run
from cluster.harness.control_plane import ControlPlane
from cluster.harness.fake_nodes import render_fake_nodes, start_kwok
from cluster.harness.images import write_images
from cluster.harness.leftovers import Undertaker, only_cluster, remove_leftovers
from cluster.harness.machines import create_network
from cluster.harness.names import HOST_ADDRESS, LOG_FOLDER, RUN_FOLDER, SHARES_FOLDER, pod_subnet
from cluster.harness.node import Node
from cluster.harness.pki import Pki
from cluster.harness.programs import build
from cluster.harness.provisioner import FILE, Provisioner
from waiting import wait_until

NODES_READY_WITHIN_SECONDS = 60
PUBLIC_IP_LIMIT = 200
SHARE_DRIVER = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "CSIDriver",
    "metadata": {"name": FILE},
    # As the real one says of itself: mounted over the network, so nothing is attached, and its pods' group is told.
    "spec": {"attachRequired": False, "podInfoOnMount": True, "fsGroupPolicy": "ReadWriteOnceWithFSType"},
}


class Cluster:
    """One cluster, the only one on the machine. Use as a context manager: it removes all of it, and what is left of
    an earlier one. ``azure`` is the Azure that its cloud controller uses, reachable from pods too: a process with
    ``azure.settings()`` works on the same public IPs.

    Raises ClusterRuns when another runs, BuildFailed, CommandFailed, PermissionError when not root.
    """

    def __init__(
        self,
        *,
        nodes: int = 2,
        node_loss_seconds: int = 10,
        cloud: CloudSettings | None = None,
        audited: tuple[str, ...] = (),
    ) -> None:
        self.cloud = cloud or CloudSettings()
        self._audited = audited
        self._count = nodes
        self._node_loss_seconds = node_loss_seconds
        self._stack = ExitStack()
        self.nodes: dict[str, Node] = {}

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise PermissionError("a test cluster makes network namespaces, cgroups and mounts: run this as root")
        programs = build()
        with ExitStack() as stack:
            stack.enter_context(only_cluster())
            remove_leftovers()
            stack.callback(remove_leftovers)
            stack.enter_context(Undertaker())
            self._prepare_folder()
            self._images = [write_images(programs, RUN_FOLDER / "images.tar")]
            create_network()
            pki = Pki(RUN_FOLDER / "pki")
            self._programs = programs
            self.kubeconfig = pki.folder / "admin.conf"
            self.control_plane = ControlPlane(
                RUN_FOLDER / "control",
                pki,
                programs,
                node_loss_seconds=self._node_loss_seconds,
                audited=self._audited,
            )
            for number in range(1, self._count + 1):
                node = Node(number, RUN_FOLDER / f"node-{number}", pki, programs)
                self.nodes[node.name] = node
            stack.callback(self.control_plane.kill)
            self.control_plane.start()
            for node in self.nodes.values():
                stack.callback(node.kill)
                self._boot(node)
            self.client = Client(config=KubeConfig.from_file(self.kubeconfig), trust_env=False)
            stack.callback(self.client.close)
            self.await_nodes()
            self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(SHARE_DRIVER))
            self._start_stand_ins(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start_stand_ins(self, stack: ExitStack) -> None:
        standin = AzureStandIn(signed_in=True)
        standin.shares = SharesInFolder(SHARES_FOLDER)
        standin.network.limit = PUBLIC_IP_LIMIT
        standin.groups.add(self.cloud.own_group.lower())
        folder = RUN_FOLDER / "azure"
        folder.mkdir(exist_ok=True)
        self.azure = stack.enter_context(run_azure(folder, standin, host=HOST_ADDRESS))
        balancer_path = resource_id(self.cloud.own_group, "loadBalancers", BALANCER)
        self.balancer = Balancer(standin, balancer_path, self.cloud)
        controller = CloudController(self.kubeconfig, self.azure, self.cloud)
        provisioner = Provisioner(self.kubeconfig, RUN_FOLDER / "volumes")
        self.stand_ins = Background(controller.run, provisioner.run, self.balancer.run)
        self.stand_ins.start()
        stack.callback(self.stand_ins.stop)

    def _prepare_folder(self) -> None:
        RUN_FOLDER.mkdir(mode=0o755, exist_ok=True)
        SHARES_FOLDER.mkdir(exist_ok=True)
        LOG_FOLDER.mkdir(exist_ok=True)
        for file in LOG_FOLDER.iterdir():
            file.unlink()

    def _boot(self, node: Node) -> None:
        node.start(self._images[0])
        for archive in self._images[1:]:
            node.import_images(archive)
        # Pods can be routed to from the host, as from anywhere in a virtual network of Azure's.
        run(["ip", "route", "replace", pod_subnet(int(node.name.removeprefix("node-"))), "via", node.address])
        for one in self.nodes.values():  # each reaches the other's pods without the host
            for other in self.nodes.values():
                if one is not other and one.machine.is_alive and node in {one, other}:
                    subnet = pod_subnet(int(other.name.removeprefix("node-")))
                    one.machine.run(["ip", "route", "replace", subnet, "via", other.address])
        # Pods reach the API server, and its answers them.
        subnet = pod_subnet(int(node.name.removeprefix("node-")))
        self.control_plane.machine.run(["ip", "route", "replace", subnet, "via", node.address])

    def await_nodes(self) -> None:
        """Wait until every node that is on is Ready."""
        wanted = {node.name for node in self.nodes.values() if node.machine.is_alive}
        wait_until(lambda: wanted <= self.ready_nodes(), NODES_READY_WITHIN_SECONDS, f"{sorted(wanted)} are Ready")

    def ready_nodes(self) -> set[str]:
        """The names of the nodes that the API server calls Ready."""
        return {
            str(node.metadata.name)
            for node in self.client.list(NodeResource)
            if node.metadata and node.status
            for condition in node.status.conditions or ()
            if condition.type == "Ready" and condition.status == "True"
        }

    def kill_node(self, name: str) -> None:
        """Pull a node's plug: gone when this returns; the cluster has to find out by itself."""
        self.nodes[name].kill()

    def start_node(self, name: str) -> None:
        """Boot a killed node again, as a machine that comes back empty of containers; waits until it is Ready."""
        self._boot(self.nodes[name])
        self.await_nodes()

    def add_fake_nodes(self, count: int, *, tainted: bool = True) -> None:
        """Add ``fake-1`` to ``fake-<count>``, where pods run on paper; waits until Ready. Once a cluster. Not
        ``tainted``: any game's pod may come."""
        start_kwok(self.control_plane.machine, self.kubeconfig, RUN_FOLDER / "kwok")
        self.kubectl("apply", "--server-side", "-f", "-", stdin=render_fake_nodes(count, tainted=tainted))
        wanted = {f"fake-{number}" for number in range(1, count + 1)}
        wait_until(lambda: wanted <= self.ready_nodes(), NODES_READY_WITHIN_SECONDS, f"{count} fake nodes are Ready")

    def stop_apiserver(self) -> None:
        """No API server until :meth:`start_apiserver`."""
        self.control_plane.apiserver.stop()

    def start_apiserver(self) -> None:
        """The API server is back and ready."""
        self.control_plane.apiserver.start()
        self.control_plane.await_ready()

    def restart_etcd(self) -> None:
        """Kill etcd and start it again on the same data; waits until the API server is ready again."""
        self.control_plane.etcd.kill()
        self.control_plane.etcd.start()
        self.control_plane.await_ready()

    def import_images(self, archive: Path) -> None:
        """Give these images to every node, also to one that is started later."""
        self._images.append(archive)
        for node in self.nodes.values():
            if node.machine.is_alive:
                node.import_images(archive)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints. Raises CommandFailed."""
        return run(self.kubectl_command(*arguments), stdin=stdin)

    def kubectl_command(self, *arguments: str) -> list[str]:
        """The same, to be run by oneself."""
        return [self._programs["kubectl"], "--kubeconfig", str(self.kubeconfig), *arguments]
