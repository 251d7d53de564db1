"""Revisions of configurations. They outlive their server for as long as its saves do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, func, insert, select, text, update

from overworld.domain.revisions import Revision
from overworld.domain.servers import Server, ServerId
from overworld.store.codecs import clean_text, read_time
from overworld.store.database import Transaction
from overworld.store.pages import DEFAULT_PAGE_SIZE, Order, Page, fetch_page
from overworld.store.save_tables import configuration_revision as revision

MOST_KEPT = 500
"""Of one server; then the oldest go, but for the newest of its settings."""
PRUNE_AT_MOST = 10_000

_NEWEST_FIRST = Order("revisions", (revision.c.number,), (int,), descending=True)

# What an older Overworld has made while the migration was under way, or after it in a rolling upgrade.
_ADOPT = text("""
    INSERT INTO configuration_revision (server_id, number, account_id, at, by, content, changed)
    SELECT id, 1, account_id, updated_at, '', jsonb_build_object(
        'game', game, 'name', name, 'memory_mib', memory_mib, 'storage', storage, 'disk_mib', disk_mib,
        'network', network, 'variables', variables
    ), '[]'
    FROM server WHERE NOT EXISTS (SELECT FROM configuration_revision AS r WHERE r.server_id = server.id)
    ON CONFLICT DO NOTHING
""")


def newest_number(server_id: ServerId) -> ColumnElement[int]:
    """The number of the newest revision of that server, 0 for none: for use in a statement."""
    newest = select(func.coalesce(func.max(revision.c.number), 0)).where(revision.c.server_id == server_id)
    return newest.scalar_subquery()


def insert_revision(
    tx: Transaction,
    of: Server,
    *,
    by: str,
    content: Mapping[str, Any],
    now: datetime,
    path: str | None = None,
    changed: Sequence[str] = (),
    restored_from: int | None = None,
) -> Revision:
    """The next revision of that server. The caller holds its row locked, or has just made it."""
    row = tx.execute(
        insert(revision)
        .values(
            server_id=of.id,
            number=newest_number(of.id) + 1,
            account_id=of.account_id,
            at=now,
            by=by,
            path=path,
            content=dict(content),
            changed=[clean_text(name) for name in changed],
            restored_from=restored_from,
        )
        .returning(revision)
    )
    made = _read(row.one())
    if made.number > MOST_KEPT:
        newest = select(func.max(revision.c.number)).where(revision.c.server_id == of.id, revision.c.path.is_(None))
        tx.execute(
            delete(revision).where(
                revision.c.server_id == of.id,
                revision.c.number <= made.number - MOST_KEPT,
                revision.c.number != newest.scalar_subquery(),
            )
        )
    return made


def list_revisions(
    tx: Transaction,
    server_id: ServerId,
    *,
    scope: str | None,
    path: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
) -> Page[Revision]:
    """Revisions of that server, newest first, also if it is gone; with ``path`` those of that file alone."""
    statement = _of(server_id, scope)
    if path is not None:
        statement = statement.where(revision.c.path == path)
    return fetch_page(
        tx,
        statement,
        _NEWEST_FIRST,
        page_size=page_size,
        page_token=page_token,
        read=_read,
        key=lambda found: (found.number,),
    )


def find_revision(tx: Transaction, server_id: ServerId, number: int, scope: str | None) -> Revision | None:
    """That revision, also of a server that is gone."""
    row = tx.execute(_of(server_id, scope).where(revision.c.number == number)).one_or_none()
    return None if row is None else _read(row)


def newest_of(tx: Transaction, server_id: ServerId, path: str | None, *, before: int | None = None) -> Revision | None:
    """The newest revision of the settings, or of the file ``path``; with ``before`` the one that preceded it."""
    statement = _of(server_id, None).where(revision.c.path.is_not_distinct_from(path))
    if before is not None:
        statement = statement.where(revision.c.number < before)
    row = tx.execute(statement.order_by(revision.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else _read(row)


def adopt_servers(tx: Transaction) -> int:
    """Give every server that has no revision its first; how many."""
    return tx.execute(_ADOPT).rowcount


def mark_gone(tx: Transaction, server_id: ServerId, now: datetime) -> None:
    """Their server is gone: from now on they are kept for their time, then removed."""
    tx.execute(update(revision).where(revision.c.server_id == server_id).values(server_gone_at=now))


def prune_gone(tx: Transaction, gone_before: datetime) -> int:
    """Remove up to 10,000 revisions of servers that were gone by then; how many."""
    due = (
        select(revision.c.server_id, revision.c.number)
        .where(revision.c.server_gone_at <= gone_before)
        .limit(PRUNE_AT_MOST)
        .subquery()
    )
    return tx.execute(
        delete(revision).where(revision.c.server_id == due.c.server_id, revision.c.number == due.c.number)
    ).rowcount


def _of(server_id: ServerId, scope: str | None) -> Select[Any]:
    statement = select(revision).where(revision.c.server_id == server_id)
    return statement if scope is None else statement.where(revision.c.account_id == scope)


def _read(row: Row[Any]) -> Revision:
    return Revision(
        server_id=row.server_id,
        number=row.number,
        account_id=row.account_id,
        at=read_time(row.at),
        by=row.by,
        content=row.content,
        path=row.path,
        changed=tuple(row.changed),
        restored_from=row.restored_from,
    )
