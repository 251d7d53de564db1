"""A controller on a real PostgreSQL and the memory engine, and owners who ask for things through the services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from controlling import GAME, Shelf
from overworld.cloud.base import Cloud
from overworld.cloud.none import NoCloud
from overworld.controller import role
from overworld.domain.accounts import Actor, Quota, Role
from overworld.domain.offers import Offer
from overworld.domain.operations import Operation, Outcome
from overworld.domain.state import State
from overworld.domain.worlds import Storage
from overworld.engines.memory import MemoryEngine, MemoryWorld
from overworld.services import servers as services
from overworld.settings import Settings
from overworld.store.accounts import create_account
from overworld.store.database import Database
from overworld.store.events import list_events
from overworld.store.operations import find_operation
from overworld.store.servers import ServerRecord, load_many
from waiting import eventually

SOON_SECONDS = 20.0


@dataclass
class Site:
    """One installation: a database, a world, an owner."""

    database: Database
    owner: Actor
    world: MemoryWorld = field(default_factory=MemoryWorld)
    shelf: Shelf = field(default_factory=lambda: Shelf(GAME))
    cloud: Cloud = field(default_factory=NoCloud)
    settings: Settings = field(default_factory=lambda: Settings(port_range="30000-30099", engine="memory"))

    @asynccontextmanager
    async def controller(self, holder: str = "one", **engine: object) -> AsyncIterator[MemoryEngine]:
        """A controller at work until the block ends; its engine."""
        stop = asyncio.Event()
        eyes = MemoryEngine(self.world)
        for name, value in engine.items():
            setattr(eyes, name, value)
        task = asyncio.create_task(
            role.run_controller(
                self.database,
                eyes,
                self.shelf,
                self.settings,
                stop,
                cloud=self.cloud,
                public_host="play.example",
                holder=holder,
            )
        )
        try:
            yield eyes
        finally:
            stop.set()
            await asyncio.wait_for(task, 30)
            await eyes.close()

    def create(self, name: str = "chess", *, start: bool = True, storage: Storage | None = None) -> str:
        """A new server's id."""
        with self.database.transaction() as tx:
            view, _ = services.create(
                tx,
                self.owner,
                self.shelf,
                name=name,
                game=GAME.slug,
                variables={},
                memory_mib=None,
                start=start,
                offer=Offer() if storage is None else Offer(disk_mib=8192, has_shares=True),
                storage=storage,
                now=datetime.now(UTC),
            )
        return view.server.id

    def ask(self, wish: Callable[..., Operation], server_id: str, *more: object) -> str:
        """One of services.servers' wishes; the id of its operation."""
        with self.database.transaction() as tx:
            return wish(tx, self.owner, server_id, *more, datetime.now(UTC)).id

    def record(self, server_id: str) -> ServerRecord | None:
        """What is stored of a server."""
        with self.database.transaction() as tx:
            return load_many(tx, [server_id]).get(server_id)

    def operation(self, operation_id: str) -> Operation:
        """A stored operation."""
        with self.database.transaction() as tx:
            found = find_operation(tx, operation_id, None)
        assert found is not None
        return found

    def reasons(self, server_id: str) -> list[str]:
        """The reasons of its events, oldest first."""
        with self.database.transaction() as tx:
            page = list_events(tx, scope=None, server_id=server_id, page_size=200)
        return [event.reason for event in reversed(page.items)]

    async def until_state(self, server_id: str, state: State) -> ServerRecord:
        """Wait until the controller saw it so, for the newest spec."""

        def look() -> ServerRecord | None:
            record = self.record(server_id)
            if record is None or record.status.observed_generation < record.server.generation:
                return None
            return record if record.state is state else None

        return await eventually(look, SOON_SECONDS, f"{server_id} is {state}")

    async def until_ended(self, operation_id: str) -> Operation:
        """Wait for the verdict."""

        def look() -> Operation | None:
            operation = self.operation(operation_id)
            return operation if operation.outcome is not Outcome.RUNNING else None

        return await eventually(look, SOON_SECONDS, f"operation {operation_id} ended")


@pytest.fixture
def site(database: Database) -> Site:
    """A fresh installation."""
    with database.transaction() as tx:
        account = create_account(tx, name="owner", role=Role.USER, quota=Quota(1000, 10**6), now=datetime.now(UTC))
    return Site(database, Actor(account.id, account.name, account.role))


@pytest.fixture
def quick_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that runs out in 2 s, so that a takeover need not be waited for."""
    from overworld.controller import leadership

    monkeypatch.setattr(leadership, "TTL", timedelta(seconds=2))
    monkeypatch.setattr(leadership, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(leadership, "RENEW_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(leadership, "MARGIN_SECONDS", 0.5)
    monkeypatch.setattr(role, "STANDBY_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(role, "PAUSE_AFTER_FAULT_SECONDS", 0.1)
