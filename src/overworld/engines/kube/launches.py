"""A launch as the keeper in a pod reads it. Pure."""

from __future__ import annotations

from typing import Any

from overworld.domain.observed import Launch, Layout, Want
from overworld.engines.launches import render_launch

LAYOUT = Layout(world="/world", config="/config")
"""Where a game in a pod finds its folders: the same in every pod."""

RUN_FOLDER = "/run/overworld"
LAUNCH_FOLDER = "/etc/overworld"
MESSAGE_FILE = "/dev/termination-log"
STARTED_PORT, READY_PORT = 10471, 10472
"""Open while a game runs, and while players can join: what the kubelet's probes look at."""


def render_pod_launch(want: Want, launch: Launch) -> dict[str, Any]:
    """Everything that the keeper has to know, and all that its game is told. Which of the programs there is, the
    keeper finds out: only it sees the image."""
    return {
        **render_launch(want, launch, launch.programs[0], LAYOUT.world),
        "uid": None,
        "gid": None,
        "cgroups": [],
        "rlimits": {},
        "pod": {
            "programs": list(launch.programs),
            "message": MESSAGE_FILE,
            "started_port": STARTED_PORT,
            "ready_port": READY_PORT,
        },
    }
