"""The mark of a recovery in the database itself: nothing is started on it until the recovery has ended.

It lies in a schema of its own, so that it is there before the first table is, and in no dump.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import Boolean, Column, MetaData, Table, exists, select, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.schema import CreateSchema, DropSchema

from overworld.domain.errors import Conflict
from overworld.store.database import Transaction, translated_errors
from overworld.store.save_tables import every_table, recovery, save_key
from overworld.store.schema import connect
from overworld.store.tables import account, event, server

MARK_SCHEMA = "overworld_recovery"

_RECOVERING = 0x6F775F7265636F76  # the advisory lock of whoever recovers: "ow_recov"

_plan = Table(
    "plan",
    MetaData(schema=MARK_SCHEMA),
    Column("single", Boolean, primary_key=True),
    Column("content", JSONB, nullable=False),
)
_ROLES = text("""
    SELECT DISTINCT split_part(application_name, '-', 2) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name ~ '^overworld-(web|controller|monitor|worker|up)' ORDER BY 1
""")
_MADE_BY_SOMEBODY = (server, event, save_key, recovery)


def read_mark(url: str) -> Mapping[str, Any] | None:
    """What a recovery of this database that was begun and not ended goes by; None if there is none."""
    with translated_errors(), connect(url) as connection:
        return _read(connection)


def write_mark(url: str, content: Mapping[str, Any]) -> None:
    """It is in the database, in place of what was there."""
    with translated_errors(), connect(url) as connection, connection.begin():
        connection.execute(CreateSchema(MARK_SCHEMA, if_not_exists=True))
        _plan.create(connection, checkfirst=True)
        row = insert(_plan).values(single=True, content=dict(content))
        connection.execute(
            row.on_conflict_do_update(index_elements=[_plan.c.single], set_={"content": row.excluded.content})
        )


def remove_mark(url: str) -> None:
    """The recovery is over. Safe to call twice."""
    with translated_errors(), connect(url) as connection, connection.begin():
        connection.execute(DropSchema(MARK_SCHEMA, cascade=True, if_exists=True))


def check_no_mark(url: str) -> None:
    """Raises Conflict while a recovery is not ended: its worlds are not back yet; Unavailable."""
    if read_mark(url) is not None:
        raise Conflict(
            "A recovery of this database was begun and not ended: run `overworld recover` again, which goes on where it"
            " was interrupted."
        )


@contextmanager
def only_recovery(url: str) -> Iterator[None]:
    """Nobody else recovers this database while the block lasts. Raises Conflict if somebody does, or if Overworld runs
    on it: what a controller finds half there it would take for what is wanted."""
    with ExitStack() as stack:
        with translated_errors():
            connection = stack.enter_context(connect(url))
            is_ours = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _RECOVERING}).scalar()
            connection.commit()  # the lock is the session's
        if not is_ours:
            raise Conflict("A recovery of this database is at work already. If it is not, try again in a minute.")
        check_no_roles(url)
        yield


def check_no_roles(url: str) -> None:
    """Raises Conflict, with their names, while roles of Overworld have connections to this database."""
    with translated_errors(), connect(url) as connection:
        roles = list(connection.execute(_ROLES).scalars())
    if roles:
        raise Conflict(
            f"Overworld runs on this database ({', '.join(roles)}), and nothing may while it is brought back: stop it"
            " first. In a cluster: `helm upgrade` with `--set recovering=true`."
        )


def has_content(url: str) -> bool:
    """Whether there is anything in the database that somebody made with Overworld. An installation that was started and
    never used has nothing."""
    with translated_errors(), connect(url) as connection:
        return _has_content(connection)


def clear_unused(url: str) -> None:
    """A database without content has no table of ours either, so that a dump can be loaded. One with content stays as
    it is."""
    with translated_errors(), connect(url) as connection, connection.begin():
        if not _has_content(connection):
            connection.execute(DropSchema("procrastinate", cascade=True, if_exists=True))
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
            every_table.drop_all(connection)


def _read(connection: Transaction) -> Mapping[str, Any] | None:
    if not _exists(connection, _plan):
        return None
    found: Mapping[str, Any] | None = connection.execute(select(_plan.c.content)).scalar()
    return found


def _has_content(connection: Transaction) -> bool:
    for table in _MADE_BY_SOMEBODY:
        if _exists(connection, table) and connection.execute(select(exists(select(table)))).scalar():
            return True
    others = select(exists(select(account).where(account.c.name != "admin")))
    return _exists(connection, account) and bool(connection.execute(others).scalar())


def _exists(connection: Transaction, table: Table) -> bool:
    return connection.execute(text("SELECT to_regclass(:name)"), {"name": table.fullname}).scalar() is not None
