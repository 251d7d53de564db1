"""Migrations: from empty and from every revision, by several processes, on both PostgreSQLs, never waiting long."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import postgres
from overworld.domain.errors import Unavailable
from overworld.store import schema
from overworld.store.database import parse_url
from overworld.store.embedded import EmbeddedPostgres
from overworld.store.migrations import revisions
from overworld.store.save_tables import every_table


@pytest.fixture(params=["Debian's 15", "the embedded one"])
def empty_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database on each PostgreSQL that Overworld is tested with."""
    if request.param == "the embedded one":
        embedded: EmbeddedPostgres = request.getfixturevalue("embedded_postgres")
        server_url = embedded.url
    else:
        server_url = request.getfixturevalue("postgres_url")
    url = postgres.create_database(server_url, "template0")
    yield url
    postgres.drop_database(url, server_url)


def differences(url: str) -> list[object]:
    """What Alembic would change to make the database agree with the tables."""
    engine = sqlalchemy.create_engine(parse_url(url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = list(compare_metadata(context, every_table))
    engine.dispose()
    return found


def describe(url: str) -> list[tuple[object, ...]]:
    """Every index and constraint as PostgreSQL itself writes them: what Alembic does not compare."""
    with psycopg.connect(url) as connection:
        return connection.execute("""
            SELECT indexname, indexdef FROM pg_indexes
            WHERE schemaname = 'public' AND tablename <> 'alembic_version'
            UNION ALL
            SELECT conname, conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND conrelid IS DISTINCT FROM to_regclass('alembic_version')
            ORDER BY 1, 2
        """).fetchall()


def test_an_empty_database_becomes_the_tables(empty_url: str) -> None:
    """Alembic finds nothing to change between the model and what was migrated."""
    assert schema.current_revision(empty_url) is None
    assert not schema.is_current(empty_url)
    schema.upgrade(empty_url)
    assert schema.is_current(empty_url)
    assert differences(empty_url) == []


def test_the_migrated_indexes_and_constraints_are_the_models(database_url: str, empty_database_url: str) -> None:
    """Each one is the same to the letter, its condition and its name too."""
    engine = sqlalchemy.create_engine(parse_url(empty_database_url))
    every_table.create_all(engine)
    engine.dispose()
    assert describe(database_url) == describe(empty_database_url)


@pytest.mark.parametrize("revision", revisions())
def test_every_earlier_revision_becomes_the_newest(empty_url: str, revision: str) -> None:
    """Whichever release wrote the database, this one can take it over."""
    schema.upgrade(empty_url, revision)
    assert schema.current_revision(empty_url) == revision
    schema.upgrade(empty_url)
    assert schema.is_current(empty_url)
    assert differences(empty_url) == []


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    """The second one finds nothing to do."""
    before = describe(database_url)
    schema.upgrade(database_url)
    assert describe(database_url) == before


def test_the_schema_of_a_newer_program_is_left_alone(empty_database_url: str) -> None:
    """Somebody went back to an older version: it says so rather than break what it does not know."""
    schema.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unavailable, match="newer Overworld"):
        schema.upgrade(empty_database_url)
    assert schema.current_revision(empty_database_url) == "9999"


def test_several_upgrades_at_once_are_one(empty_url: str) -> None:
    """Five processes start at the same time on an empty database: all succeed, one works."""
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(schema.upgrade, [empty_url] * 5))
    assert schema.is_current(empty_url)


def test_a_migration_gives_up_on_a_locked_table(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not queue up before those who work: it says so, and nothing was changed."""
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", schema.LOCK_TIMEOUT / 50)
    with psycopg.connect(empty_database_url) as other:
        other.execute("CREATE TABLE account (id text)")
        with pytest.raises(Unavailable, match="too long"):
            schema.upgrade(empty_database_url)
        other.rollback()
    assert schema.current_revision(empty_database_url) is None
    schema.upgrade(empty_database_url)


def test_an_unreachable_database_is_unavailable() -> None:
    """Nobody listens there: a sentence, not a driver's error."""
    with pytest.raises(Unavailable, match="does not answer"):
        schema.upgrade("postgresql://nobody@127.0.0.1:1/none")


def test_the_newest_revision_is_the_one_the_program_names() -> None:
    """Whether the schema is current is asked without Alembic, so the answer's other side is checked here."""
    assert revisions()[-1] == schema.NEWEST
