"""The objects of one server, rendered: pure functions of what is wanted. Golden files hold what they give.

Names are deterministic, so that applying twice is applying once. Every object carries a hash of itself (``RENDERED``).
"""

from __future__ import annotations

import base64
import json
from math import ceil

from overworld.domain.errors import EngineRefused
from overworld.domain.observed import Launch, Want, WantedAddress
from overworld.engines.kube.host_ports import render_port
from overworld.engines.kube.launches import (
    LAUNCH_FOLDER,
    LAYOUT,
    MESSAGE_FILE,
    READY_PORT,
    RUN_FOLDER,
    STARTED_PORT,
    render_pod_launch,
)
from overworld.engines.kube.manifests import Manifest, stamp
from overworld.engines.kube.names import (
    CONTAINER,
    EXIT_SEEN,
    FILE_KEY_PREFIX,
    LAUNCH_KEY,
    OCCUPIED,
    RESTARTS,
    SERVER,
    SPEC_HASH,
    WORLD_GENERATION,
    claim_name,
    server_labels,
)
from overworld.engines.kube.options import KubeOptions, ServiceType
from overworld.engines.kube.steward_pods import (
    GAMES_NODES,
    POD_SECURITY,
    ROOM,
    TOLERATION,
    container_security,
    render_sidecar,
)

TOLERATIONS = [
    TOLERATION,
    # Else Kubernetes ends it after five minutes of its node's silence, which helps nobody (its volume is held all the
    # same) and throws players out if only the cluster could not see them. Lost nodes are Overworld's own matter.
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
]

KEEPER_MEMORY_MIB = 32
"""What a pod may use beyond its game's memory: the keeper, and what the kernel counts for files."""

GRACE_MARGIN_SECONDS = 15
"""The keeper ends a game that overstays its grace; only if the keeper hangs too does the kubelet end both."""

PAUSE_AT_MOST_SECONDS = 900
"""How long a container may stay without a started game. Well above the longest pause after a crash."""

GAMES_ROOM: list[Manifest] = [
    # Not in memory: the console's log must not count as the game's.
    {"name": "run", "emptyDir": {"sizeLimit": "64Mi"}},
    {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
]


def render_secret(want: Want, launch: Launch) -> Manifest:
    """The launch and the configuration files. A Secret, because files hold the passwords that owners choose; only
    written while nothing runs on it, for the kubelet shows a change to a running game."""
    contents = {LAUNCH_KEY: json.dumps(render_pod_launch(want, launch), sort_keys=True)}
    contents |= {FILE_KEY_PREFIX + name: content for name, content in launch.files.items()}
    data = {name: base64.b64encode(content.encode()).decode() for name, content in sorted(contents.items())}
    return stamp(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": want.server_id, "labels": server_labels(want.server_id)},
            "type": "Opaque",
            "data": data,
        }
    )


def render_service(want: Want, address: WantedAddress, options: KubeOptions) -> Manifest:
    """How players come in. It stays over stop and start: a load balancer takes 5 to 20 s for every change."""
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": want.server_id,
            "labels": server_labels(want.server_id),
            "annotations": dict(address.annotations),
        },
        "spec": {
            "type": options.service_type.value,
            "selector": {SERVER: want.server_id},
            "ports": [
                {
                    "name": endpoint.name,
                    "protocol": endpoint.protocol.value.upper(),
                    "port": endpoint.port,
                    "targetPort": endpoint.port,
                }
                for endpoint in want.endpoints
            ],
        },
    }
    if options.service_type is ServiceType.LOAD_BALANCER:
        # Local: games see their players' own addresses, and UDP ports get a health probe (docs of Azure's controller).
        service["spec"] |= {"externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": False}
    return stamp(service)


def render_deployment(want: Want, launch: Launch, options: KubeOptions) -> Manifest:
    """The process. Its hash covers the Secret too, and not whether it runs. Raises EngineRefused if a port of the
    game is one of the keeper's."""
    deployment: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": want.server_id, "labels": server_labels(want.server_id)},
        "spec": {
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": {SERVER: want.server_id}},
            "template": {"metadata": _pod_metadata(want), "spec": _pod_spec(want, launch, options)},
        },
    }
    stamped = stamp(deployment, render_secret(want, launch))
    stamped["spec"] = {"replicas": int(want.running), **stamped["spec"]}
    return stamped


def _pod_metadata(want: Want) -> Manifest:
    return {
        # Until it is known that nobody plays, somebody may.
        "labels": {
            **server_labels(want.server_id),
            WORLD_GENERATION: str(want.world_generation),
            OCCUPIED: "true",
        },
        "annotations": {SPEC_HASH: want.spec_hash, RESTARTS: str(want.restarts)},
        "finalizers": [EXIT_SEEN],
    }


def _pod_spec(want: Want, launch: Launch, options: KubeOptions) -> Manifest:
    priority = {} if options.priority_class is None else {"priorityClassName": options.priority_class}
    return {
        **priority,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": GAMES_NODES,
        "tolerations": TOLERATIONS,
        "terminationGracePeriodSeconds": ceil(launch.stop.grace.total_seconds()) + GRACE_MARGIN_SECONDS,
        "securityContext": POD_SECURITY,
        "initContainers": [render_sidecar(options)],
        "containers": [render_game(want, launch, options)],
        "volumes": _volumes(want, launch),
    }


def render_game(want: Want, launch: Launch, options: KubeOptions) -> Manifest:
    """The container of the game, its keeper first. Raises EngineRefused if a port of the game is one of the
    keeper's."""
    for endpoint in want.endpoints:
        if endpoint.port in {STARTED_PORT, READY_PORT}:
            raise EngineRefused("PortTaken", f"Port {endpoint.port} is the keeper's own in a pod: use another.")
    memory = f"{want.memory_mib + KEEPER_MEMORY_MIB}Mi"
    return {
        "name": CONTAINER,
        "image": f"{options.registry}/{launch.image}:{options.image_tag}",
        "args": ["foreground", f"{LAUNCH_FOLDER}/{LAUNCH_KEY}", RUN_FOLDER],
        "stdin": launch.accepts_commands,
        "terminationMessagePath": MESSAGE_FILE,
        "resources": {
            "requests": {"memory": memory, "cpu": f"{options.cpu_request_millis}m"},
            "limits": {"memory": memory},
        },
        "ports": [render_port(want, endpoint) for endpoint in want.endpoints],
        "startupProbe": {
            "tcpSocket": {"port": STARTED_PORT},
            "periodSeconds": 1,
            "failureThreshold": PAUSE_AT_MOST_SECONDS,
        },
        "readinessProbe": {"tcpSocket": {"port": READY_PORT}, "periodSeconds": 1, "failureThreshold": 1},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "world", "mountPath": LAYOUT.world},
            {"name": "config", "mountPath": LAYOUT.config, "readOnly": True},
            {"name": "launch", "mountPath": LAUNCH_FOLDER, "readOnly": True},
            {"name": "run", "mountPath": RUN_FOLDER},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (the pod's own)
        ],
    }


def _volumes(want: Want, launch: Launch) -> list[Manifest]:
    files = [{"key": FILE_KEY_PREFIX + name, "path": name} for name in sorted(launch.files)]
    config: Manifest = {"name": "config", "emptyDir": {}}
    if files:  # a Secret volume without items would show everything in it
        config = {"name": "config", "secret": {"secretName": want.server_id, "defaultMode": 0o440, "items": files}}
    return [
        {"name": "world", "persistentVolumeClaim": {"claimName": claim_name(want.server_id, want.world_generation)}},
        config,
        {
            "name": "launch",
            "secret": {
                "secretName": want.server_id,
                "defaultMode": 0o440,
                "items": [{"key": LAUNCH_KEY, "path": LAUNCH_KEY}],
            },
        },
        *GAMES_ROOM,
        ROOM,
    ]
