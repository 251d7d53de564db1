"""A launch as the keeper in a pod reads it. Pure."""

from __future__ import annotations

from typing import Any

from overworld.domain.observed import RESTART_BACKOFF, Launch, Layout, Want

LAYOUT = Layout(world="/world", config="/config")
"""Where a game in a pod finds its folders: the same in every pod."""

RUN_FOLDER = "/run/overworld"
LAUNCH_FOLDER = "/etc/overworld"
MESSAGE_FILE = "/dev/termination-log"
STARTED_PORT, READY_PORT = 10471, 10472
"""Open while a game runs, and while players can join: what the kubelet's probes look at."""

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
HEALTHY_SECONDS = 600.0


def render_pod_launch(want: Want, launch: Launch) -> dict[str, Any]:
    """Everything that the keeper has to know, and all that its game is told. Which of the programs there is, the
    keeper finds out: only it sees the image."""
    return {
        "argv": [launch.programs[0], *launch.arguments],
        "environment": {"HOME": LAYOUT.world, "PATH": PATH, "LANG": "C.UTF-8", **launch.environment},
        "world": LAYOUT.world,
        "uid": None,
        "gid": None,
        "cgroups": [],
        "rlimits": {},
        "accepts_commands": launch.accepts_commands,
        "log_file": launch.log_file,
        "stop": {
            "command": launch.stop.command,
            "signal": launch.stop.signal,
            "grace_seconds": launch.stop.grace.total_seconds(),
            "saved": launch.stop.saved,
        },
        "ready": launch.ready.line,
        "roster": None if launch.roster is None else {"joins": launch.roster.joins, "leaves": launch.roster.leaves},
        "restart_delays": list(RESTART_BACKOFF),
        "healthy_seconds": HEALTHY_SECONDS,
        "spec_hash": want.spec_hash,
        "restarts": want.restarts,
        "world_generation": want.world_generation,
        "pod": {
            "programs": list(launch.programs),
            "message": MESSAGE_FILE,
            "started_port": STARTED_PORT,
            "ready_port": READY_PORT,
        },
    }
