"""A launch as the keeper reads it: plain JSON, everything decided."""

from __future__ import annotations

import os
import shutil
from typing import Any

from overworld.domain.errors import EngineRefused
from overworld.domain.observed import Launch, Layout, Want
from overworld.engines.launches import PATH, render_launch
from overworld.engines.local.cgroups import PROCESSES
from overworld.engines.local.users import User


def render_keeper_launch(
    want: Want, launch: Launch, layout: Layout, user: User | None, cgroups: list[dict[str, Any]]
) -> dict[str, Any]:
    """Everything that a keeper has to know, and all that its game is told. Raises EngineRefused if the program or
    something else that the game requires is not on this machine."""
    rlimits = {}
    if user is not None:
        rlimits["RLIMIT_NPROC"] = PROCESSES  # counted per user, so only where the server has one of its own
    if not cgroups:
        # Private memory with room for stacks and reserves that are never touched: stops a runaway, not a thief.
        rlimits["RLIMIT_DATA"] = (2 * want.memory_mib + 256) * 1024 * 1024
    return {
        **render_launch(want, launch, find_program(launch, user), layout.world),
        "uid": user.uid if user is not None else None,
        "gid": user.gid if user is not None else None,
        "cgroups": cgroups,
        "rlimits": rlimits,
    }


def find_program(launch: Launch, user: User | None) -> str:
    """The first of the launch's programs that is here, as an absolute path."""
    path = launch.environment.get("PATH", PATH)
    for program in launch.programs:
        found = program if os.path.isabs(program) else shutil.which(program, path=path)
        if found is not None and os.path.isfile(found) and os.access(found, os.X_OK):
            _check_reachable(found, user)
            _check_required(launch)
            return found
    raise EngineRefused(
        "ProgramMissing",
        f"The game's program is not on this machine (looked for {', '.join(launch.programs)}). "
        f"{launch.install}".strip(),
    )


def _check_required(launch: Launch) -> None:
    missing = [path for path in launch.requires if not os.path.exists(path)]
    if missing:
        raise EngineRefused(
            "ProgramMissing", f"The game needs {', '.join(missing)}, and that is not here. {launch.install}".strip()
        )


def _check_reachable(program: str, user: User | None) -> None:
    """Games do not run as root, so what root can execute is not enough."""
    if user is None:
        return
    real = os.path.realpath(program)
    blocked = next((path for path in (real, *_parents(real)) if not os.stat(path).st_mode & 0o001), None)
    if blocked is not None:
        raise EngineRefused(
            "ProgramMissing",
            f"The game's program {real} cannot be reached by the user that the server runs as: {blocked} is closed to "
            "others. Install the program for all users, or open the folder with chmod o+x.",
        )


def _parents(path: str) -> list[str]:
    parents = []
    while (path := os.path.dirname(path)) not in {"/", ""}:
        parents.append(path)
    return parents
