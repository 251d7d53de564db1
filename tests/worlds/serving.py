"""The worker's side of files, running in this process for the API to ask."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from overworld.domain.conditions import Condition, ConditionType, Reason, Truth
from overworld.domain.servers import Status
from overworld.domain.state import State
from overworld.engines.base import WorldAccess
from overworld.engines.local.agent import LocalWorlds
from overworld.engines.local.folders import Folders
from overworld.engines.local.users import Users
from overworld.secret_file import keep_secret
from overworld.store import lease
from overworld.store.database import Database
from overworld.store.statuses import StatusWrite, write_statuses
from overworld.worker.address import listen_in
from overworld.worker.files_http import FilesServer


@contextmanager
def serve_files(data: Path, worlds: WorldAccess | None = None) -> Iterator[None]:
    """Answer for the worlds of the data folder, on its socket, for as long as the block lasts."""
    data.mkdir(parents=True, exist_ok=True)
    begun, ending = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = FilesServer(worlds or LocalWorlds(data / "servers"), keep_secret(data / "worker-secret"))
        async with server.serve(listen_in(data)):
            begun.set()
            await ending.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="files")
    thread.start()
    assert begun.wait(20)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()


def make_world(database: Database, data: Path, server_id: str, *, running: bool = False) -> Path:
    """What the controller and the engine make at a server's first start: its world, and that it was seen."""
    now = datetime.now(UTC)
    state, reason = (State.RUNNING, Reason.ANSWERING) if running else (State.STOPPED, Reason.STOPPED)
    ready = Condition(ConditionType.READY, Truth.TRUE if running else Truth.FALSE, reason, "", 1, now)
    with database.transaction() as tx:
        held = lease.acquire(tx, lease.CONTROLLER, f"tests-{secrets.token_hex(4)}", timedelta(seconds=60))
        assert held is not None
        status = Status(observed_generation=1, conditions=(ready,), endpoints=(), world_seen=1)
        write_statuses(tx, held.epoch, [StatusWrite(server_id, status, state)], now)
        lease.release(tx, held)
    return make_folder(data, server_id)


def make_folder(data: Path, server_id: str) -> Path:
    """A world's folder, of a user of its own where there are such."""
    folders = Folders(data / "servers")
    folders.prepare(server_id, 1, Users(data / "servers").of(secrets.randbelow(10**8)), {})
    return folders.world(server_id, 1)


def give_to_game(world: Path) -> None:
    """Everything in the world belongs to whom the world belongs to, as if the game had made it."""
    seen = world.stat()
    for path in world.rglob("*"):
        os.chown(path, seen.st_uid, seen.st_gid, follow_symlinks=False)
