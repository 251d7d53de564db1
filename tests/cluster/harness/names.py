"""Every name and address of the test cluster. All that a cluster leaves on the machine carries one of these names.

The addresses are those that RFC 2544 keeps for measurements of networks. Those of RFC 5737, kept for documentation, are
what sandboxes give to their machines and package registries, which a route of ours would cut off. They are fixed, hence
one cluster at a time in a network namespace.
"""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = os.environ.get("OVERWORLD_TEST_CLUSTER_PREFIX", "overworld-test")
"""Of cgroups and processes, which a namespace hides only from inside: another one for a cluster in network, mount and
process namespaces of its own, beside the machine's."""
RUN_FOLDER = Path("/var/lib/overworld-test-cluster")
LOG_FOLDER = RUN_FOLDER / "log"
SHARES_FOLDER = RUN_FOLDER / "shares"
"""Every file share: ``<share>/<folder>``. What the nodes' driver mounts from."""
LOCK_FILE = Path("/run/overworld-test-cluster.lock")

MARK = f"{PREFIX.upper().replace('-', '_')}_CLUSTER_PROCESS"
"""An environment variable of every process of the cluster: how they are found again, whoever started them."""

BRIDGE = "ow-test"
VOID = "ow-void"
LINK_PREFIX = "ow-"

HOST_ADDRESS = "198.18.100.1"
CONTROL_PLANE_ADDRESS = "198.18.100.2"
MACHINE_PREFIX_LENGTH = 24
LOAD_BALANCER_RANGE = "198.18.113.0/24"
SERVICE_RANGE = "10.96.0.0/16"
KUBERNETES_SERVICE_ADDRESS = "10.96.0.1"
POD_RANGE = "10.244.0.0/16"


def node_name(number: int) -> str:
    """``node-1`` for 1."""
    return f"node-{number}"


def node_address(number: int) -> str:
    """The address on the bridge of node 1 to 99."""
    return f"198.18.100.{10 + number}"


def pod_subnet(number: int) -> str:
    """The addresses of the pods of one node."""
    return f"10.244.{number}.0/24"


def cgroup_name(number: int) -> str:
    """The name of a node's cgroup, below the root of every hierarchy."""
    return f"{PREFIX}-{node_name(number)}"
