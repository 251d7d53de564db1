"""The API over a real PostgreSQL and a world in memory, with an admin and two tenants."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

import postgres
from integration.web.clients import Client
from integration.web.serving import Served, serve
from overworld.domain.accounts import Quota, Role
from overworld.engines.memory import MemoryConsole, MemoryWorld
from overworld.games.catalogue import Catalogue
from overworld.secret_file import keep_secret
from overworld.services import bootstrap, tokens
from overworld.settings import Settings
from overworld.store.accounts import create_account, find_account_by_name
from overworld.store.database import Database
from overworld.web.app import create_app
from overworld.web.worker_link import WorkerLink
from worlds.serving import serve_files


@pytest.fixture
def world() -> MemoryWorld:
    """Where servers would run."""
    return MemoryWorld()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a new installation."""
    return Settings(data_folder=tmp_path, save_before_edits=timedelta(0))  # there is nobody here who saves


@pytest.fixture
def app(database: Database, world: MemoryWorld, settings: Settings) -> Flask:
    """The API."""
    worker = WorkerLink(
        settings.data_folder / "worker.socket", lambda: keep_secret(settings.data_folder / "worker-secret")
    )
    return create_app(database, MemoryConsole(world), Catalogue.load(), settings, worker)


@pytest.fixture
def admin(app: Flask, database: Database) -> Client:
    """The owner of the machine."""
    with database.transaction() as tx:
        token = bootstrap.ensure_admin_token(tx, None, datetime.now(UTC))
        account = find_account_by_name(tx, bootstrap.ADMIN_NAME)
    assert account is not None
    return Client(app, token, account.id)


@pytest.fixture
def anna(app: Flask, database: Database) -> Client:
    """A user."""
    return _user(app, database, "anna")


@pytest.fixture
def ben(app: Flask, database: Database) -> Client:
    """Another user."""
    return _user(app, database, "ben")


@pytest.fixture
def nobody(app: Flask) -> Client:
    """Somebody without a token."""
    return Client(app, None)


def _user(app: Flask, database: Database, name: str) -> Client:
    now = datetime.now(UTC)
    with database.transaction() as tx:
        account = create_account(tx, name=name, role=Role.USER, quota=Quota(servers=10, memory_mib=16384), now=now)
        issued = tokens.issue_for(tx, account, label="tests", lifetime=None, now=now)
    return Client(app, issued.plain, account.id)


@pytest.fixture
def files(settings: Settings) -> Iterator[Path]:
    """The worker's side of files; the data folder that it works in. Every user can come to it."""
    for folder in (settings.data_folder, *settings.data_folder.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    with serve_files(settings.data_folder):
        yield settings.data_folder


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    """The API as a process of its own."""
    with serve(database, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def served_once(
    postgres_url: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The same, one for all tests of a module that leave nothing behind."""
    url = postgres.create_database(postgres_url, migrated_template)
    database = Database(url, application_name="tests")
    with serve(database, tmp_path_factory.mktemp("served")) as running:
        yield running
    database.close()
    postgres.drop_database(url, postgres_url)
