"""What a game uses, read from /proc and from its world's folder. Blocking."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
DISK_SECONDS = 60.0
WALKS_AT_ONCE = 2


def processes_of(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        yield parent
        with suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                with suppress(OSError), open(f"/proc/{parent}/task/{task}/children") as children:
                    waiting.extend(int(child) for child in children.read().split())


def measure_processes(pid: int) -> tuple[float, float]:
    """Seconds of CPU since the start (children that have ended included) and MiB of memory; pages that processes
    share count for each of them."""
    ticks = pages = 0
    for process in processes_of(pid):
        with suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{process}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            with open(f"/proc/{process}/statm", "rb") as file:
                pages += int(file.read().split()[1])
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS, pages * _PAGE / 2**20


class DiskUsage:
    """How much room worlds take, walked at most once a minute each, and a few at once: a world of many millions of
    files must not take the threads of the others."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[float, float]] = {}
        self._walked: set[Path] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def measure(self, world: Path) -> float | None:
        """MiB of disk that the folder takes; no link is followed. What was last seen, or None, while too much is being
        walked already."""
        with self._lock:
            at, mib = self._seen.get(world, (0.0, None))
            if mib is not None and time.monotonic() - at < DISK_SECONDS:
                return mib
            if world in self._walked or len(self._walked) >= WALKS_AT_ONCE:
                return mib
            self._walked.add(world)
        try:
            blocks = self._walk(world)
            if not self._is_closed:
                mib = blocks * 512 / 2**20
                self._seen[world] = (time.monotonic(), mib)
            return mib
        finally:
            with self._lock:
                self._walked.discard(world)

    def close(self) -> None:
        """Walks end early, and measure nothing."""
        self._is_closed = True

    def forget(self, world: Path) -> None:
        """It was removed."""
        self._seen.pop(world, None)

    def _walk(self, top: Path) -> int:
        blocks = 0
        waiting = [str(top)]
        while waiting and not self._is_closed:
            with suppress(OSError), os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with suppress(OSError):
                        blocks += entry.stat(follow_symlinks=False).st_blocks
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
        return blocks
