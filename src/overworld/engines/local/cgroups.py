"""Limits of memory and of processes, and an equal share of the processor, by cgroup, where this machine lets us make
any; both versions."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROCESSES = 512

_FILESYSTEM = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The folders below which a server's cgroups are made. ``memory`` None: there is no limit by cgroup here."""

    memory: Path | None = None
    pids: Path | None = None  # None in version 2 too, where one cgroup has all of them
    cpu: Path | None = None
    is_unified: bool = False

    def of_server(self, name: str, memory_mib: int) -> list[dict[str, Any]]:
        """The cgroups of one server for its launch, the one whose members are counted first."""
        if self.memory is None:
            return []
        memory_bytes = str(memory_mib * 1024 * 1024)
        if self.is_unified:
            limits = {"memory.max": memory_bytes, "memory.swap.max": "0", "pids.max": str(PROCESSES)}
            folder = self.memory / name
            return [{"folder": str(folder), "files": _only_known(limits, self.memory)}]
        limits = {"memory.limit_in_bytes": memory_bytes, "memory.memsw.limit_in_bytes": memory_bytes}
        groups: list[dict[str, Any]] = [
            {"folder": str(self.memory / name), "files": _only_known(limits, self.memory)},
        ]
        if self.pids is not None:
            groups.append({"folder": str(self.pids / name), "files": {"pids.max": str(PROCESSES)}})
        if self.cpu is not None:
            # Its defaults are the point: a game with hundreds of busy processes gets as much as one with one.
            groups.append({"folder": str(self.cpu / name), "files": {}})
        return groups


def _only_known(limits: dict[str, str], parent: Path) -> dict[str, str]:
    return {name: value for name, value in limits.items() if (parent / name).exists()}


def find_cgroups() -> Cgroups:
    """Where this process may make cgroups; tries it out, so that a launch never fails on it."""
    if os.geteuid() != 0:
        return Cgroups()
    if (_FILESYSTEM / "cgroup.controllers").exists():
        return _find_unified()
    if (memory := _find_legacy("memory")) is None:
        return Cgroups()
    return Cgroups(memory=memory, pids=_find_legacy("pids"), cpu=_find_legacy("cpu"))


def _find_unified() -> Cgroups:
    """One cgroup at the top, since a cgroup that has processes cannot have limited children."""
    parent = _FILESYSTEM / "overworld"
    with suppress(OSError):
        (_FILESYSTEM / "cgroup.subtree_control").write_text("+memory +pids")
        parent.mkdir(exist_ok=True)
        (parent / "cgroup.subtree_control").write_text("+memory +pids")
        with suppress(OSError):  # shares of the processor are welcome, not needed
            for folder in (_FILESYSTEM, parent):
                (folder / "cgroup.subtree_control").write_text("+cpu")
        if {"memory", "pids"} <= set((parent / "cgroup.subtree_control").read_text().split()):
            return Cgroups(memory=parent, is_unified=True)
    return Cgroups()


def _find_legacy(controller: str) -> Path | None:
    """Below our own cgroup, so that the limits which were set for Overworld hold for its games too."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(","):
                parent = _FILESYSTEM / controller / path.lstrip("/")
                trial = parent / f"overworld-trial-{os.getpid()}"
                trial.mkdir(exist_ok=True)
                trial.rmdir()
                return parent
    return None
