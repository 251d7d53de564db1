"""The real thing: ``overworld web`` as a process, gunicorn and gevent included."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from installation import free_port
from overworld.services import bootstrap
from overworld.store.database import Database
from waiting import wait_until


@dataclass(frozen=True)
class Served:
    """A running server and an admin's token for it."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self) -> httpx.Client:
        """A client with the admin's token."""
        return httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {self.token}"}, timeout=30
        )


@contextmanager
def serve(database: Database, folder: Path) -> Iterator[Served]:
    """Run ``overworld web`` on the database; nothing is left of it afterwards."""
    with database.transaction() as tx:
        token = bootstrap.ensure_admin_token(tx, None, datetime.now(UTC))
    port = free_port()
    log = folder / "web.log"
    home = folder / "home"
    home.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "overworld", "web", "--parent", str(os.getpid())],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("OVERWORLD_")},
                "HOME": str(home),
                "OVERWORLD_DATABASE_URL": database.url,
                "OVERWORLD_DATA_FOLDER": str(folder / "data"),
                "OVERWORLD_LISTEN_PORT": str(port),
                "OVERWORLD_LOG_FORMAT": "json",
                "OVERWORLD_SAVE_BEFORE_EDITS": "0",  # there is nobody here who saves
            },
            stdin=subprocess.DEVNULL,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(process, url, log), 30, "web answers")
        yield Served(url, token, process, log)
    finally:
        family = (
            [psutil.Process(process.pid), *psutil.Process(process.pid).children()] if process.poll() is None else []
        )
        process.terminate()
        process.wait(15)
        assert psutil.wait_procs(family, 5)[1] == []


def _answers(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return httpx.get(f"{url}/livez").status_code == 200
    except httpx.TransportError:
        return False
