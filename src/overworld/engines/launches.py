"""A launch as every keeper reads it: plain JSON, everything decided. Pure."""

from __future__ import annotations

from typing import Any

from overworld.domain.observed import RESTART_BACKOFF, Launch, Want

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
HEALTHY_SECONDS = 600.0


def render_launch(want: Want, launch: Launch, program: str, world: str) -> dict[str, Any]:
    """Everything that a keeper has to know, but its game's rights (``uid``, ``gid``, ``cgroups``, ``rlimits``), and all
    that the game is told. ``world`` is the folder as the game sees it."""
    return {
        "argv": [program, *launch.arguments],
        "environment": {"HOME": world, "PATH": PATH, "LANG": "C.UTF-8", **launch.environment},
        "world": world,
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
    }
