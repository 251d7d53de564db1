"""Starting keepers. Blocking."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from overworld.domain.errors import EngineUnavailable
from overworld.engines import keeper

# The keeper is imported rather than run as a script, so that its compiled form is used: a third of each start.
# Its folder comes last in the path, so that nothing beside it can stand in for a module of Python.
_BOOT = "import sys; sys.path.append(sys.argv.pop(1).removesuffix('/keeper.py')); import keeper; keeper.main()"
_KNOWN = {0, keeper.KEEPER_RUNS, keeper.WORLD_IN_USE, keeper.MUST_RECOVER}
_PATIENCE_SECONDS = 10.0


def start_keeper(run: Path, launch: dict[str, Any]) -> int:
    """Start a keeper and its game; returns as soon as the keeper can be reached. 0, or one of the keeper's statuses.

    Raises EngineUnavailable with the keeper's own words if it could not begin.
    """
    return _spawn("start", run, json.dumps(launch).encode())


def start_recovery(run: Path) -> int:
    """Start a keeper that ends what a killed one left behind. 0, or KEEPER_RUNS."""
    return _spawn("recover", run, b"")


def _spawn(mode: str, run: Path, stdin: bytes) -> int:
    errors = run / "keeper.err"
    with os.fdopen(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as stderr:
        os.ftruncate(stderr.fileno(), 0)
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, keeper.__file__, mode, str(run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
            start_new_session=True,
        )
    try:
        child.communicate(stdin, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.wait()
        raise EngineUnavailable(f"a keeper did not begin within {_PATIENCE_SECONDS:.0f} s") from error
    if child.returncode not in _KNOWN:
        words = errors.read_text(errors="replace").strip().splitlines()[-1:]
        raise EngineUnavailable(f"a keeper could not begin: {''.join(words) or f'status {child.returncode}'}")
    return child.returncode
