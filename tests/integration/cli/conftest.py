"""The API over a real PostgreSQL with a real controller and a world in memory, listening on the loopback interface."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from overworld.cli.main import build_cli
from overworld.cloud.none import NoCloud
from overworld.controller.role import run_controller
from overworld.domain.accounts import Quota, Role
from overworld.engines.base import Line
from overworld.engines.memory import MemoryConsole, MemoryEngine, MemoryWorld
from overworld.games.catalogue import Catalogue
from overworld.secret_file import keep_secret
from overworld.services import bootstrap, tokens
from overworld.settings import Settings
from overworld.store.accounts import create_account
from overworld.store.database import Database
from overworld.web.app import create_app
from overworld.web.worker_link import WorkerLink
from waiting import PAUSE_SECONDS

Run = Callable[..., Result]


@dataclass(frozen=True)
class Overworld:
    """A running Overworld, the tokens of its admin and of a user with a quota of two servers, and its data folder."""

    url: str
    admin: str
    user: str
    data: Path


class PatientConsole(MemoryConsole):
    """A console whose ``follow`` waits for lines, as those of the other engines do."""

    def follow(self, server_id: str, *, after: str | None) -> Iterator[Line | None]:
        """The lines, looked for fifty times a second."""
        for line in super().follow(server_id, after=after):
            if line is None:
                time.sleep(PAUSE_SECONDS)
            yield line


@pytest.fixture
def logs_aside() -> Iterator[None]:
    """The API logs in the same process: away from what the commands print."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.reset_defaults()


@pytest.fixture
def overworld(database: Database, tmp_path: Path, logs_aside: None) -> Iterator[Overworld]:
    """The API and its controller, ended with the test."""
    settings = Settings(data_folder=tmp_path / "data", save_before_edits=timedelta(0))  # nobody here saves
    world = MemoryWorld()
    worker = WorkerLink(
        settings.data_folder / "worker.socket", lambda: keep_secret(settings.data_folder / "worker-secret")
    )
    app = create_app(database, PatientConsole(world), Catalogue.load(), settings, worker)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    controlling = _Controller(database, world, settings)
    now = datetime.now(UTC)
    with database.transaction() as tx:
        admin = bootstrap.ensure_admin_token(tx, None, now)
        account = create_account(tx, name="ann", role=Role.USER, quota=Quota(servers=2, memory_mib=16384), now=now)
        user = tokens.issue_for(tx, account, label="tests", lifetime=None, now=now).plain
    serving.start()
    controlling.start()
    try:
        yield Overworld(f"http://127.0.0.1:{server.server_port}", admin, user, settings.data_folder)
    finally:
        controlling.stop()
        server.shutdown()
        serving.join()
        server.server_close()


class _Controller(threading.Thread):
    def __init__(self, database: Database, world: MemoryWorld, settings: Settings) -> None:
        super().__init__(name="controller")
        self._database, self._world, self._settings = database, world, settings
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()

    def run(self) -> None:
        """Control until stopped."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._control())

    async def _control(self) -> None:
        engine = MemoryEngine(self._world)
        catalogue = Catalogue.load()
        await run_controller(
            self._database,
            engine,
            catalogue,
            self._settings,
            self._ending,
            cloud=NoCloud(),
            public_host="192.0.2.7",
            holder="test",
        )
        await engine.close()

    def stop(self) -> None:
        """End it and wait for its end."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self.join()


@pytest.fixture
def run(overworld: Overworld, tmp_path: Path) -> Run:
    """``run("list")`` as the user, ``run("list", token=overworld.admin)`` as the admin."""

    def call(*arguments: str, token: str = overworld.user, input: str | None = None) -> Result:
        env = {
            "OVERWORLD_URL": overworld.url,
            "OVERWORLD_TOKEN": token,
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "XDG_STATE_HOME": str(tmp_path / "state"),
        }
        result = CliRunner(env=env).invoke(build_cli(), arguments, input=input, prog_name="overworld")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
