"""Which revision the schema is at, and bringing it to the newest one without locking out those who work on the tables.

Alembic is imported only where a revision has to be applied: the question that every start of every role asks is one
cheap query, and ``overworld web`` never pays for it.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy
from sqlalchemy import NullPool, text

from overworld.domain.errors import Unavailable
from overworld.store.database import CONNECT_SECONDS, parse_url, session_options, translated_errors

NEWEST = "0006"
"""The revision that this program is made for: the head of migrations/ (a test compares)."""

LOCK_TIMEOUT = timedelta(seconds=5)
"""How long a migration waits for a table: whoever comes after it waits as long."""

STATEMENT_TIMEOUT = timedelta(minutes=5)

OLDEST_POSTGRESQL = 15

_MIGRATING = 0x6F775F736368656D  # the advisory lock of whoever migrates: "ow_schem"


def upgrade(url: str, revision: str = NEWEST) -> None:
    """Bring the schema to the newest revision (or an earlier one, for tests). Safe to repeat, and to be called by
    several processes at once: one works, the others wait. All or nothing.

    Raises ``Unavailable`` if PostgreSQL is older than 15 or does not answer, if a table stays locked for more than
    5 s (then nothing was changed: try again), or if the schema is of a newer Overworld.
    """
    with translated_errors(), connect(url) as connection:
        _check_version(connection)
        found = _read_revision(connection)
        if found == revision:
            return
        if is_newer(found):
            raise Unavailable(
                f"The database's schema is of a newer Overworld (revision {found}; this one knows {NEWEST}). "
                "Run that version again, or restore a backup from before it."
            )
        # Held by the session, so that a revision may commit in between; ends with the connection. Waiting for it
        # must not run into the lock time-out: another process may be at work for minutes.
        connection.execute(text("SET lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATING})
        connection.execute(text(f"SET lock_timeout = {round(LOCK_TIMEOUT.total_seconds() * 1000)}"))
        connection.commit()
        from overworld.store.migrations import apply_revisions  # noqa: PLC0415

        apply_revisions(connection, revision)
        connection.commit()


def current_revision(url: str) -> str | None:
    """The revision that the schema is at; None for an empty database."""
    with translated_errors(), connect(url) as connection:
        return _read_revision(connection)


def is_current(url: str) -> bool:
    """Whether the schema is the one that this program is made for."""
    return current_revision(url) == NEWEST


def is_newer(revision: str | None) -> bool:
    """Whether a newer program than this one made the schema: revisions are numbers of one width."""
    return revision is not None and revision > NEWEST


def _read_revision(connection: sqlalchemy.Connection) -> str | None:
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def connect(url: str) -> sqlalchemy.Connection:
    """One connection of its own, for what is done once. Close it. Raises the driver's errors."""
    engine = sqlalchemy.create_engine(
        parse_url(url),
        poolclass=NullPool,
        connect_args={
            "application_name": "overworld db",
            "connect_timeout": CONNECT_SECONDS,
            "options": session_options(STATEMENT_TIMEOUT, LOCK_TIMEOUT),
        },
    )
    return engine.connect()


def _check_version(connection: sqlalchemy.Connection) -> None:
    number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if number // 10000 < OLDEST_POSTGRESQL:
        raise Unavailable(
            f"The database is PostgreSQL {number // 10000}; Overworld needs {OLDEST_POSTGRESQL} or newer."
        )
