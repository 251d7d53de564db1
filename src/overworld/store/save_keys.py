"""The wrapped passwords of repositories: one a server, never in clear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, union_all, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.saves import SaveState
from overworld.domain.servers import ServerId
from overworld.store.database import Transaction
from overworld.store.save_tables import recovery, save, save_key
from overworld.store.tables import server


@dataclass(frozen=True, slots=True)
class SaveKey:
    """The password of one server's repository, as ``saves.secrets`` wrapped it under the key ``key_id``."""

    server_id: ServerId
    key_id: str
    wrapped: str


def find_key(tx: Transaction, server_id: ServerId) -> SaveKey | None:
    """The key of that server's repository, None if it never had one."""
    row = tx.execute(select(save_key).where(save_key.c.server_id == server_id)).one_or_none()
    return None if row is None else SaveKey(row.server_id, row.key_id, row.wrapped)


def insert_key(tx: Transaction, new: SaveKey, account_id: str, now: datetime) -> SaveKey:
    """The new key, or the one that was there: a password is never replaced by another."""
    row = insert(save_key).values(
        server_id=new.server_id, account_id=account_id, key_id=new.key_id, wrapped=new.wrapped, created_at=now
    )
    tx.execute(row.on_conflict_do_nothing(index_elements=[save_key.c.server_id]))
    found = find_key(tx, new.server_id)
    assert found is not None
    return found


def wrapped_by_others(tx: Transaction, key_id: str, *, limit: int) -> list[SaveKey]:
    """Passwords that another key than this one locks, for whoever rotates keys."""
    rows = tx.execute(select(save_key).where(save_key.c.key_id != key_id).with_for_update().limit(limit))
    return [SaveKey(row.server_id, row.key_id, row.wrapped) for row in rows]


def locked_by(tx: Transaction) -> dict[str, int]:
    """How many passwords each key locks, that of the installation's own repository included."""
    every = union_all(select(save_key.c.key_id), select(recovery.c.key_id)).subquery()
    rows = tx.execute(select(every.c.key_id, func.count()).group_by(every.c.key_id))
    return {key_id: count for key_id, count in rows}


def replace_wrapping(tx: Transaction, changed: SaveKey) -> None:
    """The same password, locked by another key."""
    tx.execute(
        update(save_key)
        .where(save_key.c.server_id == changed.server_id)
        .values(key_id=changed.key_id, wrapped=changed.wrapped)
    )


def has_snapshots(tx: Transaction, server_id: ServerId) -> bool:
    """Whether anything of that server was ever in the store: then a repository that is not there is lost, not new."""
    ever = select(save.c.id).where(save.c.server_id == server_id, save.c.snapshot_id.is_not(None)).limit(1)
    return tx.execute(ever).scalar() is not None


def is_kept(tx: Transaction, save_id: str) -> bool:
    """Whether the save of that id is one that the store must have."""
    return tx.execute(select(save.c.state).where(save.c.id == save_id)).scalar() == SaveState.KEPT


def add_waste(tx: Transaction, server_id: ServerId, size: int) -> tuple[int, int]:
    """Remember that saves of that many bytes were let go; all that was since the last prune, and what is kept."""
    waste = tx.execute(
        update(save_key)
        .where(save_key.c.server_id == server_id)
        .values(waste_bytes=save_key.c.waste_bytes + size)
        .returning(save_key.c.waste_bytes)
    ).scalar()
    kept = select(func.coalesce(func.sum(save.c.bytes_new), 0)).where(
        save.c.server_id == server_id, save.c.state == SaveState.KEPT
    )
    return int(waste or 0), int(tx.execute(kept).scalar_one())


def forget_waste(tx: Transaction, server_id: ServerId) -> None:
    """It was pruned."""
    tx.execute(update(save_key).where(save_key.c.server_id == server_id).values(waste_bytes=0))


def mark_orphans(tx: Transaction, remove_at: datetime) -> int:
    """Have the saves of servers that are gone removed then, unless that is settled already; how many servers."""
    is_there = select(server.c.id).where(server.c.id == save_key.c.server_id).exists()
    statement = update(save_key).where(save_key.c.remove_at.is_(None), ~is_there)
    return tx.execute(statement.values(remove_at=remove_at)).rowcount


def due_orphans(tx: Transaction, now: datetime, *, limit: int) -> list[SaveKey]:
    """Repositories whose time has passed, longest first."""
    due = select(save_key).where(save_key.c.remove_at <= now).order_by(save_key.c.remove_at).limit(limit)
    return [SaveKey(row.server_id, row.key_id, row.wrapped) for row in tx.execute(due)]


def delete_key(tx: Transaction, server_id: ServerId) -> None:
    """Forget the password: nothing is locked with it any more."""
    tx.execute(delete(save_key).where(save_key.c.server_id == server_id))
