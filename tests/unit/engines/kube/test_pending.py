"""What is waited for, in words for the owner. The messages are those of Kubernetes 1.36."""

from __future__ import annotations

import pytest

from overworld.engines.kube.models import Claim, Deployment, Pod
from overworld.engines.kube.pending import say_pending
from unit.engines.kube.cluster_objects import claim, deployment, pod, running, waiting


def unscheduled(message: str) -> Pod:
    """A pod that the scheduler has found no node for."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(node="", phase="Pending", conditions=[condition])


def failed(message: str) -> Deployment:
    """A deployment whose pod is refused."""
    return deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": message}])


@pytest.mark.parametrize(
    ("of", "one", "claims", "says"),
    [
        (deployment(), None, (), None),
        (None, None, (), None),
        (deployment(), pod(state=running()), (), None),
        (deployment(), unscheduled("0/2 nodes are available: 2 Insufficient memory."), (), "Waiting for a node"),
        (deployment(), unscheduled("0/2 nodes are available: persistentvolumeclaim not found"), (), "for its volume"),
        (
            deployment(),
            unscheduled("0/2 nodes are available: node has pod using PersistentVolumeClaim (ReadWriteOncePod)"),
            (),
            "for its volume",
        ),
        (deployment(), pod(node="", phase="Pending"), (claim(phase="Pending"),), "for a node and for its volume"),
        (deployment(), pod(phase="Pending"), (), "A node was found"),
        (deployment(), pod(state=waiting("ContainerCreating"), started=False), (), "A node was found"),
        (deployment(), pod(state=waiting("ImagePullBackOff", "no such image"), started=False), (), "no such image"),
        (deployment(), pod(state=waiting("CreateContainerConfigError", "no secret"), started=False), (), "no secret"),
        (failed('pods "x" is forbidden: exceeded quota: games, requested: memory=1Gi'), None, (), "quota is used up"),
        (failed('pods "x" is forbidden: violates PodSecurity "restricted:latest"'), None, (), "A policy"),
    ],
)
def test_what_is_waited_for_is_said(
    of: Deployment | None, one: Pod | None, claims: tuple[Claim, ...], says: str
) -> None:
    """One sentence, or none where only the game itself is waited for."""
    said = say_pending(of, one, claims)
    assert said is None if says is None else says in str(said)
