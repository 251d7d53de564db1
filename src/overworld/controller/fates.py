"""Whether a node that does not answer can still write a world. Pure, and the one place where that is decided.

Silence proves nothing: a machine whose network broke goes on writing its worlds. So a node is *lost* only if somebody
who knows says so: the cluster (it removed the node, or its cloud marked it as shut down), the cloud (the machine is
off or gone), or an operator.
"""

from __future__ import annotations

from overworld.cloud.base import MachineState
from overworld.domain.nodes import LossProof, NodeSeen, NodeWord

SHUTDOWN_TAINT = "node.cloudprovider.kubernetes.io/shutdown"
"""Set by the cluster's own cloud controller on a node whose machine it saw to be off."""

LOST_TAINT = "node.kubernetes.io/out-of-service"
"""Frees pods and volumes of a node at once: Kubernetes takes it as somebody's word that the machine is off."""

LOST_BY_US = "overworld/lost"
"""Annotation of a node that we marked as lost, so that only our own mark is ever taken off again."""

CONFIRMED = {
    LossProof.SHUT_DOWN: "the cluster's cloud says that its machine is shut down",
    LossProof.MACHINE_STOPPED: "its machine is off",
    LossProof.MACHINE_GONE: "its machine does not exist any more",
    LossProof.OPERATORS_WORD: "an operator says that it is off",
    LossProof.MARKED_BY_OTHERS: "it was marked as out of service",
    LossProof.REMOVED: "it was removed from the cluster",
}
"""Each way to know, as a part of a sentence."""


def confirm_lost(node: NodeSeen, fate: MachineState | None, word: NodeWord | None) -> LossProof | None:
    """How it is known that nothing on the node writes any more; None if it is not known.

    ``fate`` must have been asked for after the node was last seen to answer (None: not asked, or no answer). A node
    that answers is never lost, whatever anybody says.
    """
    if node.is_ready:
        return None
    ways = {
        LossProof.SHUT_DOWN: has_taint(node, SHUTDOWN_TAINT),
        LossProof.MACHINE_GONE: fate is MachineState.GONE,
        LossProof.MACHINE_STOPPED: fate is MachineState.STOPPED,
        LossProof.OPERATORS_WORD: word is not None and word.uid == node.uid and word.said_at >= node.ready_since,
        LossProof.MARKED_BY_OTHERS: has_taint(node, LOST_TAINT) and not is_marked_by_us(node),
    }
    return next((reason for reason, is_so in ways.items() if is_so), None)


def has_taint(node: NodeSeen, key: str) -> bool:
    """Whether the node carries the taint, with any value and effect."""
    return any(taint.key == key for taint in node.taints)


def is_marked_by_us(node: NodeSeen) -> bool:
    """Whether the node was marked as lost by Overworld."""
    return LOST_BY_US in node.annotations
