"""A whole Overworld on this machine, as its user runs it: ``overworld up`` with a data folder of its own.

Used by the end-to-end tests, the chaos test and the benchmarks. It knows every process that belongs to it by the data
folder (in a command line or as a working folder), so that a test can kill one, and that none is left at the end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from waiting import wait_until

READY_WITHIN_SECONDS = 60.0
STOP_WITHIN_SECONDS = 60.0


class Installation:
    """One ``overworld up`` and everything that it starts. Use as a context manager: it ends all of it."""

    def __init__(self, folder: Path, *, port_range: str = "31000-31499", **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder.parent / f"{folder.name}.log"
        self.up: subprocess.Popen[bytes] | None = None
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OVERWORLD_")},
            "OVERWORLD_DATA_FOLDER": str(folder),
            "OVERWORLD_LISTEN_PORT": str(self.port),
            "OVERWORLD_PUBLIC_HOST": "127.0.0.1",
            "OVERWORLD_PORT_RANGE": port_range,
            "OVERWORLD_LOG_FORMAT": "json",
            **{f"OVERWORLD_{name.upper()}": value for name, value in settings.items()},
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"--- last lines of {self.log_path}\n{self.last_log_lines()}")
        self.destroy()

    def start(self, *arguments: str) -> None:
        """Start ``overworld up`` and wait until its API answers."""
        with self.log_path.open("ab") as log:
            self.up = subprocess.Popen(
                [sys.executable, "-m", "overworld", "up", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.is_ready, READY_WITHIN_SECONDS, f"the API answers on {self.url}\n{self.last_log_lines()}")

    def stop(self) -> int:
        """Stop ``overworld up`` as a service manager would; its exit status."""
        assert self.up is not None
        self.up.send_signal(signal.SIGTERM)
        return self.up.wait(STOP_WITHIN_SECONDS)

    def is_ready(self) -> bool:
        """Whether the API and its database answer."""
        if self.up is not None and self.up.poll() is not None:
            raise AssertionError(f"overworld up ended with {self.up.returncode}\n{self.last_log_lines()}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def last_log_lines(self, count: int = 40) -> str:
        """The newest log lines of all its processes."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-count:])

    @property
    def token(self) -> str:
        """The admin token of this machine's owner."""
        return (self.folder / "admin-token").read_text().strip()

    @contextmanager
    def api(self) -> Iterator[httpx.Client]:
        """A client of the API with the admin's rights."""
        with httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {self.token}"}, timeout=10
        ) as client:
            yield client

    def overworld(self, *arguments: str, typed: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run one CLI command against it, as a user would; ``typed`` is its standard input."""
        return subprocess.run(
            [sys.executable, "-m", "overworld", *arguments],
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    # -- processes ---------------------------------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this installation, whoever its parent is now."""
        found: dict[int, psutil.Process] = {}
        mark = str(self.folder)
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if any(mark in part for part in process.cmdline()) or process.cwd().startswith(mark):
                    found[process.pid] = process
            except (psutil.Error, OSError):  # OSError: a working folder of somebody else's with too long a name
                continue
        if self.up is not None and self.up.poll() is None:
            with_up = psutil.Process(self.up.pid)
            found |= {process.pid: process for process in [with_up, *with_up.children(recursive=True)]}
        return list(found.values())

    def web(self) -> psutil.Process | None:
        """The web process (gunicorn's first), or None."""
        return next((p for p in self._children() if "web" in _command(p).split()), None)

    def postgres(self) -> psutil.Process | None:
        """The embedded PostgreSQL's first process, or None."""
        return next((p for p in self._children() if "postgres" in _command(p)), None)

    def keepers(self) -> list[psutil.Process]:
        """The keeper of every game that runs."""
        return [process for process in self.processes() if "keeper.py" in _command(process)]

    def games(self) -> list[psutil.Process]:
        """Every process whose working folder is a world."""
        return [process for process in self.processes() if "/world/" in _working_folder(process)]

    def _children(self) -> list[psutil.Process]:
        if self.up is None or self.up.poll() is not None:
            return []
        try:
            return psutil.Process(self.up.pid).children()
        except psutil.Error:
            return []

    def destroy(self) -> None:
        """End every process of it, whatever state it is in. Safe to call twice."""
        for _ in range(50):
            left = self.processes()
            if not left:
                break
            for process in left:
                try:
                    process.kill()
                except psutil.Error:
                    continue
            psutil.wait_procs(left, timeout=1)
        if self.up is not None:
            self.up.wait(10)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _working_folder(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except (psutil.Error, OSError):
        return ""


@contextmanager
def folder_for_everybody() -> Iterator[Path]:
    """A temporary folder that the database's and the games' users may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="overworld-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def json_of(response: httpx.Response) -> Any:
    """The JSON of a response that has to be a success."""
    assert response.is_success, (
        f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
    )
    return response.json()
