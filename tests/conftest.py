"""Fixtures for everybody: a real PostgreSQL, a fresh migrated database for each test that asks for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from sqlalchemy import event

import postgres
from overworld.store import schema
from overworld.store.database import Database
from overworld.store.embedded import EmbeddedPostgres

StatementCounter = Callable[[Database], AbstractContextManager[list[str]]]


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The superuser's URL on this session's own Debian PostgreSQL 15; with TEST_POSTGRES=embedded in the environment
    on the embedded one."""
    if os.environ.get("TEST_POSTGRES") == "embedded":
        embedded: EmbeddedPostgres = request.getfixturevalue("embedded_postgres")
        yield embedded.url
        return
    if not postgres.is_installed():
        message = f"PostgreSQL 15 is not in {postgres.PROGRAMS}: apt-get install postgresql-15"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with postgres.run_cluster() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    """The name of a database at the newest revision that nobody is connected to."""
    url = postgres.create_database(postgres_url)
    schema.upgrade(url)
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without a schema."""
    url = postgres.create_database(postgres_url)
    yield url
    postgres.drop_database(url, postgres_url)


@pytest.fixture
def database_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A fresh database at the newest revision."""
    url = postgres.create_database(postgres_url, migrated_template)
    yield url
    postgres.drop_database(url, postgres_url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same, opened."""
    opened = Database(database_url, application_name="tests", pool_size=10)
    yield opened
    opened.close()


@pytest.fixture
def statement_counter() -> StatementCounter:
    """``with statement_counter(database) as statements:`` collects the SQL that the block sends, to pin its number."""

    @contextmanager
    def count(database: Database) -> Iterator[list[str]]:
        statements: list[str] = []

        def remember(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            statements.append(statement)

        event.listen(database.engine, "before_cursor_execute", remember)
        try:
            yield statements
        finally:
            event.remove(database.engine, "before_cursor_execute", remember)

    return count


@pytest.fixture(scope="session")
def embedded_postgres() -> Iterator[EmbeddedPostgres]:
    """Overworld's own PostgreSQL, started in a throw-away folder; ``url`` leads to it."""
    with postgres.open_folder() as folder:
        server = EmbeddedPostgres(folder)
        server.start()
        yield server
        server.stop()
