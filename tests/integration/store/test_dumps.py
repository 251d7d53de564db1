"""Dumps of a real database by PostgreSQL's own programs, on every PostgreSQL that Overworld is tested with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import psycopg
import pytest

import postgres
from overworld.domain.accounts import Quota, Role
from overworld.domain.errors import Unavailable
from overworld.store import accounts, recovery_mark, schema
from overworld.store.database import Database
from overworld.store.dumps import dump_program, load_dump
from overworld.store.embedded import EmbeddedPostgres


@pytest.fixture(params=["Debian's 15", "the embedded one"])
def server_url(request: pytest.FixtureRequest) -> str:
    """Each PostgreSQL."""
    if request.param == "the embedded one":
        embedded: EmbeddedPostgres = request.getfixturevalue("embedded_postgres")
        return embedded.url
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def full_url(server_url: str) -> Iterator[str]:
    """A database with something in it."""
    url = postgres.create_database(server_url, "template0")
    schema.upgrade(url)
    database = Database(url, application_name="tests")
    with database.transaction() as tx:
        accounts.create_account(tx, name="Ünï\\code\n", role=Role.USER, quota=Quota(1, 1), now=datetime.now(UTC))
    database.close()
    yield url
    postgres.drop_database(url, server_url)


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """One with nothing."""
    url = postgres.create_database(server_url, "template0")
    yield url
    postgres.drop_database(url, server_url)


async def dump(url: str) -> bytes:
    """What the program prints."""
    program = dump_program(url)
    process = await asyncio.create_subprocess_exec(
        *program.arguments, env={"PATH": os.defpath, **program.environment}, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    """It, as it comes from a store."""
    for start in range(0, len(content), 50_000):
        yield content[start : start + 50_000]


def rows(url: str) -> dict[str, object]:
    """Every table of every schema, with what is in it and where its numbers go on."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
            " WHERE schemaname IN ('public', 'procrastinate') ORDER BY 1"
        ).fetchall()
        found: dict[str, object] = {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for (name,) in tables
        }
        found["sequences"] = connection.execute(
            "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
        ).fetchall()
        return found


async def test_a_dump_comes_back_whole(full_url: str, empty_url: str) -> None:
    """Every row of every table, and the schema is current."""
    await load_dump(empty_url, chunks(await dump(full_url)))
    assert schema.is_current(empty_url)
    assert rows(empty_url) == rows(full_url)
    assert len(rows(full_url)) > 20


async def test_half_a_dump_leaves_nothing(full_url: str, empty_url: str) -> None:
    """The database is as empty as before, and can be filled with a whole one."""
    whole = await dump(full_url)
    with pytest.raises(Unavailable, match="cannot be brought back"):
        await load_dump(empty_url, chunks(whole[: len(whole) * 2 // 3]))
    assert schema.current_revision(empty_url) is None
    await load_dump(empty_url, chunks(whole))
    assert schema.is_current(empty_url)


async def test_a_store_that_breaks_off_leaves_nothing(full_url: str, empty_url: str) -> None:
    """What the store raises comes through, and nothing was changed."""
    whole = await dump(full_url)

    async def broken() -> AsyncIterator[bytes]:
        yield whole[:60_000]
        raise Unavailable("The store went away.")

    with pytest.raises(Unavailable, match="went away"):
        await load_dump(empty_url, broken())
    assert schema.current_revision(empty_url) is None


def test_the_password_is_in_no_argument(embedded_postgres: EmbeddedPostgres) -> None:
    """Everybody on the machine can read arguments; the environment only we can."""
    program = dump_program(embedded_postgres.url)
    password = psycopg.conninfo.conninfo_to_dict(embedded_postgres.url)["password"]
    assert not any(str(password) in argument for argument in program.arguments)
    assert program.environment["PGPASSWORD"] == password
    assert str(password) not in repr(program)


async def test_a_dump_of_an_older_postgresql_comes_back_in_a_newer_one(
    database_url: str, embedded_postgres: EmbeddedPostgres
) -> None:
    """The new machine may have the embedded PostgreSQL where the old one had Debian's."""
    url = postgres.create_database(embedded_postgres.url, "template0")
    await load_dump(url, chunks(await dump(database_url)))
    assert schema.is_current(url)
    postgres.drop_database(url, embedded_postgres.url)


async def test_a_dump_of_a_newer_postgresql_comes_back_in_an_older_one(full_url: str, postgres_url: str) -> None:
    """A new cluster has the PostgreSQL that its cloud offers. A mark of a recovery is in no dump."""
    recovery_mark.write_mark(full_url, {})
    url = postgres.create_database(postgres_url, "template0")
    await load_dump(url, chunks(await dump(full_url)))
    assert schema.is_current(url)
    assert rows(url) == rows(full_url)
    assert recovery_mark.read_mark(url) is None
    postgres.drop_database(url, postgres_url)
