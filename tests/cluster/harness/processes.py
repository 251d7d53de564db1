"""A program of the cluster: in a session of its own, with a log file, marked so that it is found again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from cluster.harness.names import LOG_FOLDER, MARK

STOP_WITHIN_SECONDS = 1.0
_KILL_WITHIN_SECONDS = 10.0


class Process:
    """One running program and its children. Starting it twice starts it anew; its log is continued."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.command = list(command)
        self.log_path: Path = LOG_FOLDER / f"{name}.log"
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; does not wait for anything that it does."""
        self.stop()
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, MARK: self.name},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started (not its children)."""
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    def check(self) -> None:
        """Raises RuntimeError with the end of the log if it is no longer there."""
        if not self.is_alive:
            raise RuntimeError(f"{self.name} has ended; the end of {self.log_path}:\n{self.last_log_lines()}")

    def stop(self, within_seconds: float = STOP_WITHIN_SECONDS) -> None:
        """Ask it to end, end it after a second: an API server would wait for its watches. Safe to call twice."""
        if self._popen is not None:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(within_seconds)
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would. Raises TimeoutExpired if it does not. Safe to call twice."""
        if self._popen is not None:
            self._signal(signal.SIGKILL)
            self._popen.wait(_KILL_WITHIN_SECONDS)
            self._popen = None

    def _signal(self, number: signal.Signals) -> None:
        """To the program itself: unshare and nsenter, its parents here, pass nothing on, but end when it has ended."""
        if self._popen is not None and self._popen.poll() is None:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(self._popen.pid)
                for one in process.children() or [process]:
                    one.send_signal(number)

    def last_log_lines(self, count: int = 15) -> str:
        """The end of its log."""
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return "\n".join(lines[-count:])
