"""Stewards, rendered: the container in every game's pod, and the pod of a world on which no game runs. Pure."""

from __future__ import annotations

from overworld.domain.servers import ServerId
from overworld.engines.kube.launches import LAYOUT
from overworld.engines.kube.manifests import USER, Manifest
from overworld.engines.kube.names import (
    BASE_GENERATION,
    MANAGED_BY,
    MANAGER,
    STEWARD,
    STEWARD_OF,
    WORLD_GENERATION,
    claim_name,
    steward_name,
)
from overworld.engines.kube.options import KubeOptions

PYTHON = ("/usr/bin/python3", "-I", "-S")
PROGRAM = "/usr/lib/overworld/steward.py"
AGENT = "/usr/lib/overworld/agent.py"
BASE = "/base"
"""Where the earlier generation is, to read."""

STOP_SECONDS = 5
"""What it works on is cut off: a game waits for the world."""

GAMES_NODES = {"workload": "gameserver"}
TOLERATION = {"key": "workload", "operator": "Equal", "value": "gameserver", "effect": "NoSchedule"}

POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container_security() -> Manifest:
    """Of every container beside a world."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


ROOM: Manifest = {"name": STEWARD, "emptyDir": {}}
"""The steward's own /tmp: what restic remembers of the store. Without a limit, whose crossing would end the game."""


def render_sidecar(options: KubeOptions) -> Manifest:
    """In a game's pod: begun before the game and ended after it (a native sidecar, Kubernetes 1.29). It asks the
    scheduler for what it uses while it waits; its limit is its own, so the game never pays for a save."""
    return {**_container(options, "wait"), "restartPolicy": "Always"}


def render_steward(
    server_id: ServerId, generation: int, options: KubeOptions, *, base_generation: int | None = None
) -> Manifest:
    """A pod that is a steward alone, of that generation; an earlier one can be read below ``BASE``. Its volume admits
    one pod: the cluster itself keeps it and a game apart."""
    world: Manifest = {"name": "world", "persistentVolumeClaim": {"claimName": claim_name(server_id, generation)}}
    pod = render_alone(steward_name(server_id, generation), server_id, world, options)
    pod["metadata"]["labels"][WORLD_GENERATION] = str(generation)
    if base_generation is not None:
        pod["metadata"]["labels"][BASE_GENERATION] = str(base_generation)
        base = {"name": "base", "persistentVolumeClaim": {"claimName": claim_name(server_id, base_generation)}}
        pod["spec"]["volumes"].append(base)
        (container,) = pod["spec"]["containers"]
        container["volumeMounts"].append({"name": "base", "mountPath": BASE, "readOnly": True})
    return pod


def render_alone(name: str, server_id: ServerId, world: Manifest, options: KubeOptions) -> Manifest:
    """A pod that is a steward alone, on that volume."""
    priority = {} if options.priority_class is None else {"priorityClassName": options.priority_class}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {MANAGED_BY: MANAGER, STEWARD_OF: server_id}},
        "spec": {
            **priority,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": options.steward_seconds,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": GAMES_NODES,
            "tolerations": [TOLERATION],
            "terminationGracePeriodSeconds": STOP_SECONDS,
            "securityContext": POD_SECURITY,
            "containers": [_container(options, "wait", str(options.steward_idle_seconds))],
            "volumes": [world, ROOM],
        },
    }


def _container(options: KubeOptions, *arguments: str) -> Manifest:
    return {
        "name": STEWARD,
        "image": options.steward_image or f"{options.registry}/overworld:{options.image_tag}",
        "command": [*PYTHON, PROGRAM, *arguments],
        "resources": {
            "requests": {"memory": "24Mi", "cpu": "5m"},
            "limits": {"memory": f"{options.steward_memory_mib}Mi"},
        },
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "world", "mountPath": LAYOUT.world},
            {"name": STEWARD, "mountPath": "/tmp"},  # noqa: S108 (the container's own)
        ],
    }
