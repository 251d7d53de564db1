"""Objects as an API server tells them, decoded by the models under test."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from overworld.engines.kube.exits import Memory, ToldExit
from overworld.engines.kube.models import Claim, Deployment, Pod, Service
from overworld.engines.kube.names import EXIT_SEEN, LAST_EXIT, RESTARTS, SERVER, SPEC_HASH, UNFINISHED, WORLD_GENERATION
from overworld.engines.kube.seen import ServerObjects

SERVER_ID = "b7k2m9q4t6w8"
BEGAN = "2026-11-23T10:00:00Z"
STARTED = "2026-11-23T10:00:05Z"
READY = "2026-11-23T10:00:09Z"
ENDED = "2026-11-23T10:30:00Z"
ENDED_AT = 1795429800.25


def told(**changes: Any) -> str:
    """A keeper's termination message."""
    end = {
        "at": ENDED_AT,
        "status": 1,
        "signal": None,
        "asked": False,
        "save_seen": False,
        "out_of_memory": False,
        "lines": ["cannot open the map"],
        **changes.pop("exit", {}),
    }
    return json.dumps({"exit": end, "crashes": 1, "next_start_at": ENDED_AT + 1, "asked": False, **changes})


def pod(
    name: str = "b7k2m9q4t6w8-1-a",
    *,
    state: dict[str, Any] | None = None,
    last_state: dict[str, Any] | None = None,
    started: bool = True,
    ready: bool = False,
    restarts: int = 0,
    node: str = "node-1",
    phase: str = "Running",
    deleted: str | None = None,
    grace: int = 20,
    conditions: list[dict[str, Any]] | None = None,
    created: str = BEGAN,
) -> Pod:
    """A pod; ``state`` None: its kubelet has said nothing of a container yet."""
    metadata: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "labels": {SERVER: SERVER_ID, WORLD_GENERATION: "1"},
        "annotations": {SPEC_HASH: "spec-1", RESTARTS: "2"},
        "finalizers": [EXIT_SEEN],
        "creationTimestamp": created,
    }
    if deleted is not None:
        metadata |= {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": grace}
    statuses = []
    if state is not None:
        statuses.append(
            {
                "name": "game",
                "ready": ready,
                "started": started,
                "restartCount": restarts,
                "state": state,
                "lastState": last_state or {},
            }
        )
    content = {
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"name": "game", "stdin": True, "image": "x"}]},
        "status": {
            "phase": phase,
            "hostIP": "198.51.100.11",
            "conditions": conditions or [],
            "containerStatuses": statuses,
        },
    }
    return msgspec.json.decode(json.dumps(content), type=Pod)


def running(since: str = STARTED) -> dict[str, Any]:
    """A container's state."""
    return {"running": {"startedAt": since}}


def terminated(message: str = "", *, code: int = 1, reason: str = "Error", at: str = ENDED) -> dict[str, Any]:
    """A container's state."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": at}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """A container's state."""
    return {"waiting": {"reason": reason, "message": message}}


def deployment(
    *, replicas: int = 1, memory: str | None = None, conditions: list[dict[str, Any]] | None = None
) -> Deployment:
    """A deployment under spec-1 and token 2."""
    content = {
        "metadata": {
            "name": SERVER_ID,
            "resourceVersion": "5",
            "labels": {SERVER: SERVER_ID},
            "annotations": {} if memory is None else {LAST_EXIT: memory},
        },
        "spec": {
            "replicas": replicas,
            "template": {
                "metadata": {
                    "creationTimestamp": None,
                    "labels": {WORLD_GENERATION: "1"},
                    "annotations": {SPEC_HASH: "spec-1", RESTARTS: "2"},
                }
            },
        },
        "status": {"conditions": conditions or []},
    }
    return msgspec.json.decode(json.dumps(content), type=Deployment)


def memory(**changes: Any) -> str:
    """What a Deployment remembers of a graceful stop under spec-0."""
    end = {"at": ENDED_AT, "status": 0, "signal": None, "asked": True, "save_seen": True, "out_of_memory": False}
    told_exit = ToldExit(**{**end, "lines": ("world saved",), **changes})
    return msgspec.json.encode(Memory(told_exit, 0, "spec-0", 1)).decode()


def claim(
    generation: int = 1,
    *,
    phase: str = "Bound",
    deleted: str | None = None,
    unfinished: str | None = None,
    storage_class: str = "overworld-world",
) -> Claim:
    """A volume claim of a world; without a class it is in a share."""
    content: dict[str, Any] = {
        "metadata": {
            "name": f"{SERVER_ID}-world-{generation}",
            "labels": {SERVER: SERVER_ID, WORLD_GENERATION: str(generation)},
            "deletionTimestamp": deleted,
            "annotations": {} if unfinished is None else {UNFINISHED: unfinished},
        },
        "spec": {"volumeName": "pv-1", "storageClassName": storage_class},
        "status": {"phase": phase},
    }
    return msgspec.json.decode(json.dumps(content), type=Claim)


def service(*ingress: dict[str, str], kind: str = "LoadBalancer", leased: str | None = None) -> Service:
    """A Service with what the cloud says of it."""
    content: dict[str, Any] = {
        "metadata": {
            "name": SERVER_ID,
            "labels": {SERVER: SERVER_ID},
            "annotations": {} if leased is None else {"overworld/address": leased},
        },
        "spec": {"type": kind},
        "status": {"loadBalancer": {"ingress": list(ingress)} if ingress else {}},
    }
    return msgspec.json.decode(json.dumps(content), type=Service)


def objects(*pods: Pod, of: Deployment | None = None, services: tuple[Service, ...] = ()) -> ServerObjects:
    """Everything of a server that has a bound world."""
    return ServerObjects(deployment=of or deployment(), pods=pods, claims=(claim(),), services=services)
