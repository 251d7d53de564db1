"""Rows to begin with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from overworld.domain.accounts import Account, Quota, Role
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth
from overworld.domain.games import Protocol
from overworld.domain.servers import Desired, Endpoint, Server, Status
from overworld.store.accounts import create_account
from overworld.store.database import Database
from overworld.store.servers import insert_server

NOW = datetime(2026, 5, 4, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    """The time of these tests; no clock is read."""
    return NOW


@pytest.fixture
def make_account(database: Database) -> Callable[..., Account]:
    """``make_account(name)``: a committed account."""

    def make(name: str = "ann", role: Role = Role.USER) -> Account:
        with database.transaction() as tx:
            return create_account(tx, name=name, role=role, quota=Quota(10, 10_000), now=NOW)

    return make


@pytest.fixture
def account(make_account: Callable[..., Account]) -> Account:
    """An account named ann."""
    return make_account()


@pytest.fixture
def make_server(database: Database) -> Callable[..., Server]:
    """``make_server(account, name)``: a committed server."""

    def make(owner: Account, name: str = "one", **values: Any) -> Server:
        given: dict[str, Any] = {
            "game": "luanti",
            "desired": Desired.RUNNING,
            "variables": {"motd": "hello ☃", "players": 3, "pvp": False},
            "memory_mib": 512,
            "now": NOW,
            **values,
        }
        with database.transaction() as tx:
            return insert_server(tx, account_id=owner.id, name=name, **given)

    return make


@pytest.fixture
def running() -> Callable[..., Status]:
    """``running(generation)``: the status of a server that players can join."""

    def make(generation: int = 1) -> Status:
        return Status(
            observed_generation=generation,
            conditions=(
                Condition(
                    ConditionType.READY,
                    Truth.TRUE,
                    Reason.ANSWERING,
                    "Players can join.",
                    generation,
                    NOW - timedelta(seconds=3),
                ),
            ),
            endpoints=(Endpoint("game", Protocol.UDP, "198.51.100.7", 30000),),
            updated_at=NOW,
        )

    return make
