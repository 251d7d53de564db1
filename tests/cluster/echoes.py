"""A server to try the cluster with: the echo program in a pod with a world, behind a static address."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

from cluster.harness.cluster import Cluster
from cluster.harness.images import ECHO
from cluster.harness.provisioner import DISK

PORT = 7777
GROUP = "overworld-addresses"
ANNOTATION = "service.beta.kubernetes.io/azure-"
NAMESPACE = "games"


def apply(cluster: Cluster, *objects: dict[str, Any]) -> None:
    """Apply objects in the games namespace."""
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    cluster.kubectl("--namespace", NAMESPACE, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=body)


def prepare(cluster: Cluster) -> None:
    """The namespace (Pod Security restricted), the storage class and the resource group. Safe to call twice."""
    cluster.azure.standin.groups.add(GROUP)
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(
        cluster,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}},
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "worlds"},
            "provisioner": DISK,
            "reclaimPolicy": "Retain",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        },
    )


def service(
    name: str, *, pip: str | None = None, label: str | None = None, group: str = GROUP, **annotations: str
) -> dict[str, Any]:
    """A LoadBalancer Service for ``name`` on the public IP ``pip`` of the resource group."""
    wishes = {f"{ANNOTATION}load-balancer-resource-group": group, **annotations}
    wishes |= {} if pip is None else {f"{ANNOTATION}pip-name": pip}
    wishes |= {} if label is None else {f"{ANNOTATION}dns-label-name": label}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": wishes},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "allocateLoadBalancerNodePorts": False,
            "selector": {"server": name},
            "ports": [{"name": protocol.lower(), "protocol": protocol, "port": PORT} for protocol in ("UDP", "TCP")],
        },
    }


def claim(name: str, storage: str = "1Gi") -> dict[str, Any]:
    """A claim that one pod at a time may use."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOncePod"],
            "storageClassName": "worlds",
            "resources": {"requests": {"storage": storage}},
        },
    }


def deployment(name: str, *, node: str | None = None, world: str | None = None) -> dict[str, Any]:
    """One pod of the echo program, on one node if named, with a world if named; Pod Security restricted."""
    container: dict[str, Any] = {
        "name": "echo",
        "image": ECHO,
        "args": [str(PORT), *(["/world"] if world else [])],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    pod: dict[str, Any] = {
        "nodeSelector": {"workload": "gameserver"} | ({"kubernetes.io/hostname": node} if node else {}),
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [
            {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
            for what in ("unreachable", "not-ready")
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if world:
        container["volumeMounts"] = [{"name": "world", "mountPath": "/world"}]
        pod["volumes"] = [{"name": "world", "persistentVolumeClaim": {"claimName": world}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"server": name}},
            "template": {"metadata": {"labels": {"server": name}}, "spec": pod},
        },
    }


def ask(kind: socket.SocketKind, address: str, line: str, timeout_seconds: float = 0.5) -> str:
    """What the server at ``address`` answers by UDP (``SOCK_DGRAM``) or TCP; empty when nobody answers."""
    with suppress(OSError), socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect((address, PORT))
        connection.sendall(f"{line}\n".encode())
        return connection.recv(65536).decode().strip()
    return ""


def address_of(cluster: Cluster, name: str) -> str:
    """The address in the Service's status; empty while there is none."""
    path = "jsonpath={.status.loadBalancer.ingress[*].ip}"
    return cluster.kubectl("--namespace", NAMESPACE, "get", "service", name, "--output", path)


def warnings_of(cluster: Cluster, name: str) -> list[str]:
    """The messages of the warning events about a Service."""
    selector = f"involvedObject.kind=Service,involvedObject.name={name},type=Warning"
    path = 'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}'
    listed = cluster.kubectl("--namespace", NAMESPACE, "get", "events", "--field-selector", selector, "--output", path)
    return listed.splitlines()


def public_ips(cluster: Cluster) -> list[dict[str, Any]]:
    """Every public IP in our resource group."""
    standin = cluster.azure.standin
    with standin.lock:
        return [standin.network.get(path) for path in standin.network.in_group(GROUP)]


def remove_all(cluster: Cluster) -> None:
    """Delete every server of the games namespace and wait until it is gone; volumes and addresses too."""
    kinds = "deployment,service,pod,persistentvolumeclaim"
    cluster.kubectl("--namespace", NAMESPACE, "delete", kinds, "--all", "--timeout=60s")
    claimed = "jsonpath={range .items[*]}{.spec.claimRef.namespace}/{.metadata.name} {end}"
    volumes = [one.partition("/") for one in cluster.kubectl("get", "persistentvolume", "--output", claimed).split()]
    ours = [name for namespace, _, name in volumes if namespace == NAMESPACE]  # others' may be in use
    if ours:
        cluster.kubectl("delete", "persistentvolume", *ours, "--timeout=60s")
    for public_ip in public_ips(cluster):
        cluster.azure.standin.remove_public_ip(GROUP, public_ip["name"])
