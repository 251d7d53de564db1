"""How the stand-in cloud behaves; a test may change any of it while the cluster runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CloudSettings:
    """The paces of the cloud controller and the balancer, in seconds.

    ``write_seconds``: what each write takes (0.3 with Azure, three writes a Service). ``probe_seconds``: between two
    probes of a node (5 with Azure). ``retry_seconds``: the first pause after a failure, each next is twice as long, up
    to ``longest_retry_seconds``. ``throttled_seconds``: how long everything waits after a 429 or 500 of ARM that names
    no time itself. ``own_group``: the cluster's own resource group, fixed once it runs.
    """

    write_seconds: float = 0.0
    probe_seconds: float = 0.5
    retry_seconds: float = 5.0
    longest_retry_seconds: float = 300.0
    throttled_seconds: float = 2.0
    own_group: str = "MC_overworld-test"
