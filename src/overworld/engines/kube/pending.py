"""Why a server that is wanted running does not run yet, in a sentence for its owner. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from overworld.engines.kube.host_ports import say_forbidden
from overworld.engines.kube.models import Claim, Deployment, Pod
from overworld.engines.kube.names import RESTORER, STEWARD

IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


def say_pending(deployment: Deployment | None, pod: Pod | None, claims: Iterable[Claim]) -> str | None:
    """None where nothing is waited for but the game itself."""
    if pod is None:
        return _say_no_pod(deployment)
    game = pod.game
    if (says := say_no_image(pod)) is not None:
        return says
    waiting = game.state.waiting if game is not None else None
    if waiting is not None and waiting.reason in CONFIG_REASONS:
        return f"Its container cannot be made. {waiting.message}".strip()
    if pod.spec.node_name:
        if game is None or (waiting is not None and waiting.reason in {"ContainerCreating", "PodInitializing"}):
            return "A node was found; its volume is attached and its image fetched."
        return None
    return say_unscheduled(pod, claims)


def say_no_image(pod: Pod) -> str | None:
    """Which image cannot be fetched; None if that is not what holds it up."""
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason in IMAGE_REASONS:
            whose = "Overworld's" if status.name in {STEWARD, RESTORER} else "the game's"
            return (
                f"Waiting for {whose} image: it cannot be fetched. The operator should look whether it exists and "
                f"whether the nodes may fetch it. {waiting.message}".strip()
            )
    return None


def _say_no_pod(deployment: Deployment | None) -> str | None:
    if deployment is None:
        return None
    for condition in deployment.status.conditions:
        if condition.type == "ReplicaFailure" and condition.status == "True":
            if "exceeded quota" in condition.message:
                return f"The cluster's quota is used up: stop a server, or raise the quota. {condition.message}"
            return say_forbidden(condition.message) or f"A policy of the cluster forbids it. {condition.message}"
    return None


def say_unscheduled(pod: Pod, claims: Iterable[Claim]) -> str:
    """Why no node was found for it."""
    condition = next((one for one in pod.status.conditions if one.type == "PodScheduled"), None)
    message = condition.message if condition is not None else ""
    if "persistentvolumeclaim" in message.lower() or "ReadWriteOncePod" in message:
        return f"Waiting for its volume. {message}"
    if "unbound immediate" in message or "volume" in message:
        return f"Waiting for its volume. {message}"
    if not message and any(claim.status.phase == "Pending" for claim in claims):
        return "Waiting for a node and for its volume."
    return f"Waiting for a node with room for it. {message}".strip()
