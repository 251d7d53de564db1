"""Saves: one row each, written by the web (the wish), by workers (what came of it), never read from the save store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, text, update

from overworld.domain.saves import Proof, Quiet, Save, SaveReason, SaveState
from overworld.domain.servers import Server, ServerId
from overworld.store.codecs import Values, clean_text, read_time
from overworld.store.database import Transaction
from overworld.store.ids import new_id
from overworld.store.pages import DEFAULT_PAGE_SIZE, Order, Page, fetch_page
from overworld.store.revisions import newest_number
from overworld.store.save_tables import save

PRUNE_AT_MOST = 10_000

_NEWEST_FIRST = Order("saves", (save.c.created_at, save.c.id), (datetime, str), descending=True)
_SHOWN = (SaveState.RUNNING, SaveState.KEPT, SaveState.FAILED)


def insert_save(
    tx: Transaction,
    server: Server,
    *,
    operation_id: str,
    reason: SaveReason,
    label: str,
    pinned: bool,
    game_revision: str,
    now: datetime,
    world_generation: int | None = None,
) -> Save:
    """A save that is about to be taken of that generation of the server's world (None: the present one)."""
    spec = {
        "name": server.name,
        "game": server.game,
        "variables": dict(server.variables),
        "memory_mib": server.memory_mib,
    }
    row = tx.execute(
        insert(save)
        .values(
            id=new_id(),
            server_id=server.id,
            account_id=server.account_id,
            operation_id=operation_id,
            world_generation=server.world_generation if world_generation is None else world_generation,
            state=SaveState.RUNNING,
            reason=reason,
            label=clean_text(label),
            pinned=pinned,
            game_revision=game_revision,
            configuration_revision=newest_number(server.id),
            spec=spec,
            error="",
            created_at=now,
        )
        .returning(save)
    ).mappings()
    return read_save(row.one())


def find_save(tx: Transaction, save_id: str, scope: str | None) -> Save | None:
    """The save of that id among those of the account ``scope`` (None: everybody's)."""
    statement = select(save).where(save.c.id == save_id)
    if scope is not None:
        statement = statement.where(save.c.account_id == scope)
    row = tx.execute(statement).mappings().one_or_none()
    return None if row is None else read_save(row)


def list_saves(
    tx: Transaction,
    *,
    scope: str | None,
    server_id: ServerId | None = None,
    gone: bool = False,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
) -> Page[Save]:
    """Saves, newest first, also of servers that are gone; ``gone`` shows what was removed from the store instead."""
    shown = (SaveState.GONE,) if gone else _SHOWN
    statement = select(save).where(save.c.state.in_(shown))
    if scope is not None:
        statement = statement.where(save.c.account_id == scope)
    if server_id is not None:
        statement = statement.where(save.c.server_id == server_id)
    return fetch_page(
        tx,
        statement,
        _NEWEST_FIRST,
        page_size=page_size,
        page_token=page_token,
        read=_read_row,
        key=lambda found: (found.created_at, found.id),
    )


def kept_saves(tx: Transaction, server_id: ServerId) -> list[Save]:
    """Every save of the server that is in the store, newest first."""
    statement = select(save).where(save.c.server_id == server_id, save.c.state == SaveState.KEPT)
    return [read_save(row) for row in tx.execute(statement.order_by(save.c.created_at.desc())).mappings()]


def last_kept(tx: Transaction, server_id: ServerId, *, uploads: bool = False) -> Save | None:
    """The newest save in the store of the server's own world, or (``uploads``) of that and of what was uploaded."""
    statement = select(save).where(save.c.server_id == server_id, save.c.state == SaveState.KEPT)
    if not uploads:
        statement = statement.where(save.c.reason != SaveReason.UPLOAD)
    row = tx.execute(statement.order_by(save.c.created_at.desc(), save.c.id).limit(1)).mappings().one_or_none()
    return None if row is None else read_save(row)


def kept_by(tx: Transaction, operation_id: str) -> Save | None:
    """The newest save in the store that this operation took."""
    statement = select(save).where(save.c.operation_id == operation_id, save.c.state == SaveState.KEPT)
    row = tx.execute(statement.order_by(save.c.created_at.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else read_save(row)


def write_save(tx: Transaction, save_id: str, values: Mapping[str, Any]) -> Save | None:
    """The save with those columns changed; None if there is none."""
    if "error" in values:
        values = {**values, "error": clean_text(values["error"])}
    row = tx.execute(update(save).where(save.c.id == save_id).values(**values).returning(save)).mappings()
    found = row.one_or_none()
    return None if found is None else read_save(found)


def mark_gone(tx: Transaction, save_ids: Collection[str], now: datetime) -> int:
    """Remember that the store does not have them any more; what they had added to it, in bytes."""
    if not save_ids:
        return 0
    gone = tx.execute(
        update(save)
        .where(save.c.id.in_(save_ids), save.c.state == SaveState.KEPT)
        .values(state=SaveState.GONE, ended_at=now)
        .returning(save.c.bytes_new)
    ).scalars()
    return sum(size or 0 for size in gone)


def abandon_running(tx: Transaction, server_id: ServerId, error: str, now: datetime) -> int:
    """End the saves of an attempt that died; only for whoever holds the lease on the world. How many there were."""
    return tx.execute(
        update(save)
        .where(save.c.server_id == server_id, save.c.state == SaveState.RUNNING)
        .values(state=SaveState.FAILED, error=clean_text(error), ended_at=now)
    ).rowcount


def prune_saves(tx: Transaction, ended_before: datetime) -> int:
    """Remove up to 10,000 rows of saves that failed or went from the store before then; how many."""
    old = (
        select(save.c.id)
        .where(save.c.state.in_((SaveState.FAILED, SaveState.GONE)), save.c.ended_at < ended_before)
        .limit(PRUNE_AT_MOST)
    )
    return tx.execute(delete(save).where(save.c.id.in_(old))).rowcount


def bytes_kept(tx: Transaction) -> int:
    """What all saves in the store added to it."""
    total = select(func.coalesce(func.sum(save.c.bytes_new), 0)).where(save.c.state == text("'kept'"))
    return int(tx.execute(total).scalar_one())


def _read_row(row: Row[Any]) -> Save:
    return read_save(row._mapping)


def read_save(value: Values) -> Save:
    """The save of a row of its table."""
    return Save(
        id=value["id"],
        server_id=value["server_id"],
        account_id=value["account_id"],
        world_generation=value["world_generation"],
        state=SaveState(value["state"]),
        reason=SaveReason(value["reason"]),
        label=value["label"],
        pinned=value["pinned"],
        created_at=read_time(value["created_at"]),
        snapshot_id=value["snapshot_id"],
        quiet=None if value["quiet"] is None else Quiet(value["quiet"]),
        off_seconds=value["off_seconds"],
        bytes_total=value["bytes_total"],
        bytes_new=value["bytes_new"],
        files=value["files"],
        seconds=value["seconds"],
        game_revision=value["game_revision"],
        configuration_revision=value["configuration_revision"],
        spec=value["spec"],
        proven_at=None if value["proven_at"] is None else read_time(value["proven_at"]),
        proof=None if value["proof"] is None else Proof(value["proof"]),
        error=value["error"],
        ended_at=None if value["ended_at"] is None else read_time(value["ended_at"]),
    )
