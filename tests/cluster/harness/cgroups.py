"""The cgroup of a node, in whichever hierarchies this machine has: version 1, version 2, or both."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_GONE_WITHIN_SECONDS = 10


def _hierarchies() -> list[Path]:
    """Where trees are made: version 2's root alone, or each of version 1's."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [path for path in sorted(_ROOT.iterdir()) if path.is_dir() and not path.is_symlink()]


def create(name: str) -> None:
    """Make the cgroup ``name`` below each root. Safe to call twice."""
    for hierarchy in _hierarchies():
        if hierarchy == _ROOT:
            wanted = (_ROOT / "cgroup.controllers").read_text().split()
            (_ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in wanted))
        folder = hierarchy / name
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # version 1 leaves them empty, and then nothing may enter
            if hierarchy != _ROOT and (folder / file).exists():
                (folder / file).write_text((hierarchy / file).read_text())


def remove(prefix: str) -> None:
    """End every process in a cgroup whose name begins with ``prefix`` and remove these cgroups. Safe to call twice.

    Raises TimeoutError with the process ids when some do not end.
    """
    give_up_at = time.monotonic() + _GONE_WITHIN_SECONDS
    while trees := [tree for hierarchy in _hierarchies() for tree in hierarchy.glob(f"{prefix}*") if tree.is_dir()]:
        pids: set[int] = set()
        for tree in trees:
            pids |= _empty(tree)
        if pids and time.monotonic() > give_up_at:
            raise TimeoutError(f"in cgroups {prefix}* and not to be ended: {sorted(pids)}")
        if pids:
            time.sleep(0.02)


def _empty(tree: Path) -> set[int]:
    """Kill what is in a tree and remove its empty folders; the process ids that were met."""
    met: set[int] = set()
    for folder, _, _ in os.walk(tree, topdown=False):
        with suppress(FileNotFoundError, OSError):
            pids = [int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()]
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            met |= set(pids)
        with suppress(OSError):
            Path(folder).rmdir()
    return met
