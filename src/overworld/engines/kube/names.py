"""Names, labels and annotations of the objects in the cluster: how everything of a server is found again."""

from __future__ import annotations

from overworld.domain.servers import ServerId

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "overworld"
FIELD_MANAGER = "overworld"

SERVER = "overworld/server"
WORLD_GENERATION = "overworld/world-generation"
SPEC_HASH = "overworld/spec-hash"
RESTARTS = "overworld/restarts"
RENDERED = "overworld/rendered"
"""A hash of the object as rendered: equal hashes mean that there is nothing to send."""

LAST_EXIT = "overworld/last-exit"
"""How the last process ended, on the Deployment: it outlives the pod that it ended in."""

EXIT_SEEN = "overworld/exit-seen"
"""A finalizer of every game pod: the pod's object stays until its end was written down."""

OCCUPIED = "occupied"
"""Label ("true") of a pod on which somebody plays or may play: the one PodDisruptionBudget selects it. A pod is born
with it."""

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""Annotation ("false") of a pod on which somebody plays: the autoscaler leaves its node alone."""

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""Taint of a node that is known to be off: Kubernetes then frees its pods and volumes at once."""

LOST = "overworld/lost"
"""Annotation of a node that Overworld gave that taint."""

STEWARD_OF = "overworld/steward-of"
"""Label of a pod that is a steward alone: whose world it has. Not ``SERVER``, by which Services find games."""

BASE_GENERATION = "overworld/base-generation"
"""Label of such a pod: the earlier generation that it has besides, to read."""

UNFINISHED = "overworld/unfinished"
"""Annotation of the claim of a generation that is no world (yet): ``being-made``, or ``unwanted`` once it will never be
one and is to be removed."""
BEING_MADE, UNWANTED = "being-made", "unwanted"

SELECTOR = f"{MANAGED_BY}={MANAGER}"
CONTAINER = "game"
STEWARD = "steward"
"""The container that touches a world for others; docs/decisions/0014."""
RESTORER = "restorer"
"""The steward in a drill's pod before its game begins; docs/decisions/0022."""

LAUNCH_KEY = "launch.json"
FILE_KEY_PREFIX = "config."


def server_labels(server_id: ServerId) -> dict[str, str]:
    """The labels of everything that belongs to a server."""
    return {MANAGED_BY: MANAGER, SERVER: server_id}


def steward_name(server_id: ServerId, world_generation: int) -> str:
    """The pod that is a steward alone, of one generation of a world."""
    return f"{claim_name(server_id, world_generation)}-steward"


def scratch_name(server_id: ServerId) -> str:
    """The pod in which a save of the server is restored for proof."""
    return f"{server_id}-scratch-steward"


def claim_name(server_id: ServerId, world_generation: int) -> str:
    """The volume claim of one generation of a world."""
    return f"{server_id}-world-{world_generation}"
