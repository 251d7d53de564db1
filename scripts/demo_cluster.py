"""``make demo-cluster``: the demo on a real Kubernetes of two nodes on this machine, with static addresses as on Azure.

Starts the cluster of the tests and ``overworld up`` with engine=kube beside it, asks its API for a Luanti server, and
reaches the game in its pod through its own public address. Nothing of it is left when it ends.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import demo

from cluster.harness.cluster import Cluster
from cluster.harness.image_builds import REGISTRY, TAG, build_images
from cluster.harness.provisioner import DISK

NAMESPACE = "overworld-games"
DISK_CLASS = "overworld-world"


def main() -> int:
    """Run the demo; 0 if everything it promises was seen."""
    demo.step("Building", "the images, where they are not built yet")
    archives = build_images(demo.GAME, "overworld")
    demo.step("Starting a Kubernetes of two nodes", "the first time it is built from source, 10 to 15 minutes")
    try:
        with Cluster() as cluster, tempfile.TemporaryDirectory(prefix="overworld-demo-cluster-") as folder:
            Path(folder).chmod(0o755)  # the database's own user has to get in
            for archive in archives:
                cluster.import_images(archive)
            prepare(cluster)
            demo.step("The cluster is up", f"kubectl --kubeconfig {cluster.kubeconfig} get nodes,pods,services -A")
            status = demo.run(environment(cluster, Path(folder) / "data"))
            demo.step("Ending the cluster", "nothing of it is left")
    except KeyboardInterrupt:
        return 130
    return status


def prepare(cluster: Cluster) -> None:
    """What the chart of an installation would bring: a namespace for games, and disks that are kept."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    disks = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": DISK_CLASS},
        "provisioner": DISK,
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }
    for manifest in (namespace, disks):
        cluster.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))


def environment(cluster: Cluster, data_folder: Path) -> dict[str, str]:
    """The settings of an Overworld on that cluster and its Azure."""
    return {
        **demo.demo_environment(),
        **cluster.azure.settings(azure_resource_group=cluster.cloud.own_group),
        "OVERWORLD_DATA_FOLDER": str(data_folder),
        "OVERWORLD_ENGINE": "kube",
        "OVERWORLD_KUBECONFIG": str(cluster.kubeconfig),
        "OVERWORLD_KUBE_REGISTRY": REGISTRY,
        "OVERWORLD_KUBE_IMAGE_TAG": TAG,
        "OVERWORLD_KUBE_DISK_CLASS": DISK_CLASS,
        "OVERWORLD_KUBE_CPU_REQUEST_MILLIS": "50",
    }


if __name__ == "__main__":
    raise SystemExit(main())
