"""One node: a machine with containerd, kubelet, kube-proxy and the driver of file shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from azure_standin.arm import SUBSCRIPTION
from azure_standin.machines import machine_id
from cluster.harness import cgroups
from cluster.harness.commands import CommandFailed, run
from cluster.harness.control_plane import URL
from cluster.harness.images import PAUSE
from cluster.harness.machines import Machine, write
from cluster.harness.names import BRIDGE, POD_RANGE, SHARES_FOLDER, cgroup_name, node_address, node_name, pod_subnet
from cluster.harness.pki import Pki
from cluster.harness.programs import Programs
from waiting import wait_until

GAME_LABEL = ("workload", "gameserver")


class Node:
    """Node ``number`` (1 to 99). ``start`` boots it empty; ``kill`` pulls its plug and loses what its pods had."""

    def __init__(self, number: int, folder: Path, pki: Pki, programs: Programs) -> None:
        self.name = node_name(number)
        self.address = node_address(number)
        self.machine_id = machine_id(SUBSCRIPTION, "aks-games-vmss", number)
        self.machine = Machine(self.name, self.address, programs)
        self._number, self._folder, self._pki, self._programs = number, folder, pki, programs
        self._socket = folder / "cri.sock"
        pki.issue(self.name, f"system:node:{self.name}", group="system:nodes", hosts=(self.address, self.name))
        pki.kubeconfig(self.name, URL)

    def start(self, images: Path) -> None:
        """Boot and start the four programs with these images; does not wait for Ready."""
        cgroups.create(cgroup_name(self._number))
        self.machine.start()
        run(["ip", "route", "replace", pod_subnet(self._number), "via", self.address, "dev", BRIDGE])
        self.containerd = self.machine.start_process(
            f"{self.name}-containerd", ["containerd", "--config", str(self._containerd_settings())]
        )
        self.kube_proxy = self.machine.start_process(f"{self.name}-kube-proxy", self._proxy_command())
        wait_until(self._containerd_answers, 20, f"containerd of {self.name} answers")
        self.import_images(images)
        self.kubelet = self.machine.start_process(f"{self.name}-kubelet", self._kubelet_command())
        self.share_driver = self.machine.start_process(f"{self.name}-share-driver", self._share_driver_command())

    def kill(self) -> None:
        """Pull the plug: containers, network and mounts are gone when this returns. Safe to call twice."""
        self.machine.kill()
        cgroups.remove(cgroup_name(self._number))

    def import_images(self, archive: Path) -> None:
        """Give the node the images of an archive (``docker save``, ``podman save``)."""
        self._ctr("images", "import", str(archive))

    def _ctr(self, *arguments: str) -> str:
        return self.machine.run(["ctr", "--address", str(self._socket), "--namespace", "k8s.io", *arguments])

    def _containerd_answers(self) -> bool:
        self.containerd.check()
        try:
            self._ctr("version")
        except CommandFailed:
            return False
        return True

    def _containerd_settings(self) -> Path:
        cni = write(self._folder / "cni" / "10-pods.conflist", json.dumps(self._network())).parent
        return write(
            self._folder / "containerd.toml",
            f"""\
version = 2
root = "{self._folder}/containerd"
state = "/run/containerd-state"
[grpc]
  address = "{self._socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self._folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
""",
        )

    def _network(self) -> dict[str, Any]:
        subnet = pod_subnet(self._number)
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni-addresses",
                "ranges": [[{"subnet": subnet}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]}

    def _kubelet_command(self) -> list[str]:
        settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self._pki.authority_certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup_name(self._number)}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": ["pods"],
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "tlsCertFile": str(self._pki.certificate(self.name)),
            "tlsPrivateKeyFile": str(self._pki.key(self.name)),
            "oomScoreAdj": 0,
            "maxPods": 200,
            "localStorageCapacityIsolation": False,
            "podLogsDir": str(self._folder / "pod-logs"),
            "volumePluginDir": str(self._folder / "volume-plugins"),
            "nodeStatusUpdateFrequency": "2s",
            "resolvConf": str(write(self._folder / "resolv.conf", "")),
            # A machine's disk may be as full as it likes: no pod is evicted for it.
            "evictionHard": {"memory.available": "50Mi"},
        }
        path = write(self._folder / "kubelet.yaml", json.dumps(settings, indent=1))
        return [
            self._programs["kubelet"],
            f"--config={path}",
            f"--kubeconfig={self._pki.folder / f'{self.name}.conf'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            f"--provider-id=azure://{self.machine_id}",
            f"--root-dir={self._folder / 'kubelet'}",
            f"--node-labels={'='.join(GAME_LABEL)}",
        ]

    def _share_driver_command(self) -> list[str]:
        return [
            self._programs["share-driver"],
            f"-node={self.name}",
            f"-shares={SHARES_FOLDER}",
            f"-kubelet={self._folder / 'kubelet'}",
        ]

    def _proxy_command(self) -> list[str]:
        return [
            self._programs["kube-proxy"],
            f"--kubeconfig={self._pki.folder / 'proxy.conf'}",
            f"--hostname-override={self.name}",
            f"--cluster-cidr={POD_RANGE}",
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",
            f"--bind-address={self.address}",
        ]
