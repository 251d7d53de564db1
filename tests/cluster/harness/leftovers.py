"""Remove whatever a test cluster has left on this machine, however it ended.

Nothing is recorded anywhere, so nothing can be forgotten: processes carry a mark in their environment; links, cgroups
and the folder have names of their own; mounts and network namespaces end with the last process in them.

    python -m cluster.harness.leftovers     removes them now
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from cluster.harness import cgroups
from cluster.harness.commands import run
from cluster.harness.names import LINK_PREFIX, LOCK_FILE, LOG_FOLDER, MARK, PREFIX, RUN_FOLDER

_UNDERTAKER_ARGUMENT = "--when-stdin-ends"
_END_WITHIN_SECONDS = 20.0
_WAIT_FOR_LOCK_SECONDS = 30.0


class ClusterRuns(Exception):
    """Another test cluster runs on this machine; there can be one."""


@contextmanager
def only_cluster(wait_seconds: float = _WAIT_FOR_LOCK_SECONDS) -> Iterator[None]:
    """Hold the right to be the machine's test cluster. The kernel takes it back from a process that dies.

    Raises ClusterRuns when another holds it for longer than ``wait_seconds`` (one that was killed is still being
    removed for about a second).
    """
    lock = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        give_up_at = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    holder = os.pread(lock, 32, 0).decode().strip()
                    raise ClusterRuns(f"a test cluster of process {holder} runs on this machine") from None
                time.sleep(0.05)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def remove_leftovers() -> None:
    """Remove everything of a test cluster but the log files. For who holds :func:`only_cluster`; safe to call twice.

    Raises TimeoutError when a process does not end.
    """
    _end_processes()
    cgroups.remove(f"{PREFIX}-")
    for link in links():
        with suppress(Exception):  # the second end of a pair goes with the first
            run(["ip", "link", "delete", link])
    for mount in _mounts_below(RUN_FOLDER):
        run(["umount", "--lazy", mount])
    if RUN_FOLDER.is_dir():
        for path in RUN_FOLDER.iterdir():
            if path != LOG_FOLDER:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def processes() -> list[psutil.Process]:
    """Every process of a test cluster on this machine (those in pods aside: they end with their node)."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if MARK in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def links() -> list[str]:
    """Every network link of a test cluster on this machine."""
    return sorted(path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(LINK_PREFIX))


def _end_processes() -> None:
    give_up_at = time.monotonic() + _END_WITHIN_SECONDS
    while alive := processes():
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=1)
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"these do not end: {', '.join(f'{one.pid} {one.name()}' for one in alive)}")


def _mounts_below(folder: Path) -> list[str]:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [mount for mount in reversed(mounts) if mount.startswith(f"{folder}/")]


class Undertaker:
    """A process that outlives the harness: when the harness dies without a word, it removes what is left."""

    def __enter__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "cluster.harness.leftovers", _UNDERTAKER_ARGUMENT],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
            start_new_session=True,
        )

    def __exit__(self, *_: object) -> None:
        """Everything has been removed: send the undertaker home."""
        self._popen.kill()
        self._popen.communicate()


def main(arguments: list[str]) -> None:
    """Remove the leftovers, now or when the standard input ends."""
    if arguments == [_UNDERTAKER_ARGUMENT]:
        sys.stdin.buffer.read()
    with only_cluster():
        remove_leftovers()


if __name__ == "__main__":
    main(sys.argv[1:])
