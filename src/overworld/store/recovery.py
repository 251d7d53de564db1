"""The row that says how this installation is brought back, and what has to change in a database that was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.recovery import Claim, Recovery
from overworld.domain.saves import Save, SaveState
from overworld.domain.servers import Server, ServerId
from overworld.store.codecs import Values, clean_text, read_time
from overworld.store.database import Transaction
from overworld.store.save_tables import recovery, save, save_key, saving_off, world_lease
from overworld.store.saves import find_save
from overworld.store.tables import lease, retired_world, server, server_status

# What the present world was restored or cloned from, if that was remembered.
_SOURCE = text("""
    SELECT arguments ->> 'save_id' FROM operation
    WHERE server_id = :server_id AND kind IN ('restore', 'clone')
        AND CAST(arguments ->> 'generation' AS integer) = :generation AND arguments ->> 'swapped' = 'true'
    ORDER BY created_at DESC LIMIT 1
""")


def find_recovery(tx: Transaction) -> Recovery | None:
    """The row, None before anybody asked for a recovery key."""
    row = tx.execute(select(recovery)).mappings().one_or_none()
    return None if row is None else _read(row)


def insert_recovery(tx: Transaction, new: Recovery) -> Recovery:
    """The new row, or the one that was there: a password is never replaced by another."""
    row = insert(recovery).values(
        single=True, epoch=new.claim.epoch, token=new.claim.token, key_id=new.key_id, wrapped=new.wrapped
    )
    tx.execute(row.on_conflict_do_nothing())
    found = find_recovery(tx)
    assert found is not None
    return found


def write_recovery(tx: Transaction, values: Mapping[str, Any]) -> None:
    """Change those columns."""
    given = {name: clean_text(value) if isinstance(value, str) else value for name, value in values.items()}
    tx.execute(update(recovery).values(**given))


def has_new_repository(tx: Transaction, since: datetime) -> bool:
    """Whether a server got a repository, and so a password, since then."""
    return tx.execute(select(save_key.c.server_id).where(save_key.c.created_at >= since).limit(1)).scalar() is not None


def take_over(tx: Transaction, claim: Claim, *, fence: str) -> None:
    """A database that was brought back belongs to this claim, and nothing in it says that somebody is at work, or that
    there are worlds besides those that are about to be restored. Safe to repeat."""
    write_recovery(tx, {"epoch": claim.epoch, "token": claim.token, "fence": fence, "restored": True})
    for table in (lease, world_lease, saving_off, retired_world):
        tx.execute(delete(table))


def end_recovery(tx: Transaction) -> bool:
    """All worlds are back; whether this is the first to say so."""
    return tx.execute(update(recovery).where(recovery.c.restored).values(restored=False)).rowcount == 1


def find_source(tx: Transaction, of: Server) -> Save | None:
    """The save that the server's present world was made from; None if it was not, or nobody knows any more."""
    found = tx.execute(_SOURCE, {"server_id": of.id, "generation": of.world_generation}).scalar()
    source = None if found is None else find_save(tx, found, None)
    return source if source is not None and source.state is SaveState.KEPT else None


def adopt_save(tx: Transaction, of: Server, values: Mapping[str, Any]) -> bool:
    """A row for a save that is in the store: it was taken after the dump, or the dump had it as being taken, or it was
    gone and is back. Whether anything changed; one that failed stays so."""
    row = insert(save).values(
        server_id=of.id,
        account_id=of.account_id,
        operation_id="",
        world_generation=of.world_generation,
        configuration_revision=of.generation,
        game_revision="",
        spec={
            "name": of.name,
            "game": of.game,
            "variables": dict(of.variables),
            "memory_mib": of.memory_mib,
        },
        pinned=False,
        error="",
        **values,
    )
    changed = {name: row.excluded[name] for name in ("state", "snapshot_id", "quiet", "ended_at")}
    return (
        tx.execute(
            row.on_conflict_do_update(
                index_elements=[save.c.id], set_=changed, where=save.c.state.in_((SaveState.RUNNING, SaveState.GONE))
            )
        ).rowcount
        == 1
    )


def forget_world(tx: Transaction, server_id: ServerId) -> None:
    """A server that never had a save begins with an empty world: nothing says any more that one was seen."""
    tx.execute(update(server_status).where(server_status.c.server_id == server_id).values(world_seen=0))


def all_servers(tx: Transaction) -> list[ServerId]:
    """Every server, those that are wanted running first and deleted ones last."""
    order = text("array_position(ARRAY['running', 'stopped', 'deleted'], server.desired)")
    return list(tx.execute(select(server.c.id).order_by(order, server.c.number)).scalars())


def _read(row: Values) -> Recovery:
    def time(name: str) -> datetime | None:
        return None if row[name] is None else read_time(row[name])

    return Recovery(
        claim=Claim(row["epoch"], row["token"]),
        key_id=row["key_id"],
        wrapped=row["wrapped"],
        key_made_at=time("key_made_at"),
        dumped_at=time("dumped_at"),
        dump_bytes=row["dump_bytes"],
        dump_new_bytes=row["dump_new_bytes"],
        dump_seconds=row["dump_seconds"],
        pruned_at=time("pruned_at"),
        prunes=row["prunes"],
        problem=row["problem"],
        fence=row["fence"],
        restored=row["restored"],
    )
