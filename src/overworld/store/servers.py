"""Servers: the spec. Every write of it wakes the controller when its transaction commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Select, and_, any_, bindparam, case, delete, exc, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate
from sqlalchemy.types import Text

from overworld.domain.addresses import AddressLease
from overworld.domain.errors import Conflict, PreconditionFailed
from overworld.domain.games import Value
from overworld.domain.operations import Operation
from overworld.domain.servers import Desired, Network, Server, Status
from overworld.domain.state import State, derive_state
from overworld.domain.worlds import Storage
from overworld.store.addresses import release_lease
from overworld.store.codecs import Values, read_address, read_operation, read_server
from overworld.store.database import Transaction
from overworld.store.ids import new_id
from overworld.store.notify import DESIRED
from overworld.store.operations import abort_open_operations
from overworld.store.ports import PortLease, read_lease, release_ports
from overworld.store.revisions import mark_gone
from overworld.store.server_rows import (
    ServerView,
    json_array,
    read_status_columns,
    read_view,
    retired_worlds_of,
    select_views,
)
from overworld.store.tables import address, operation, port_lease, server, server_status

_NAME_INDEX = "uq_server_account_name"


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """All that the controller reads of a server. Open operations come oldest first, leases by name; ``address`` is
    None where none is leased to it."""

    server: Server
    status: Status
    state: State
    open_operations: tuple[Operation, ...]
    leases: tuple[PortLease, ...]
    address: AddressLease | None = None


def insert_server(
    tx: Transaction,
    *,
    account_id: str,
    name: str,
    game: str,
    desired: Desired,
    variables: Mapping[str, Value],
    memory_mib: int,
    now: datetime,
    storage: Storage | None = None,
    disk_mib: int | None = None,
    network: Network | None = None,
) -> Server:
    """A new server at generation 1. Raises ``Conflict`` if its owner has a living one of that name."""
    row = _write(
        tx,
        insert(server)
        .values(
            id=new_id(),
            account_id=account_id,
            name=name,
            game=game,
            generation=1,
            desired=desired,
            desired_generation=1,
            restarts=0,
            variables=dict(variables),
            memory_mib=memory_mib,
            storage=storage,
            disk_mib=disk_mib,
            network=network,
            world_generation=1,
            created_at=now,
            updated_at=now,
        )
        .on_conflict_do_nothing(
            index_elements=[server.c.account_id, server.c.name], index_where=text("desired <> 'deleted'")
        )
        .returning(server),
    )
    if row is None:
        raise _name_taken(name)
    return read_server(row, ())


def find_server(tx: Transaction, id_or_name: str, scope: str | None) -> ServerView | None:
    """The server of that id, else of that name, among those of the account ``scope`` (None: everybody's).

    A living server hides deleted ones of its name. Raises ``Conflict`` if a name still means several.
    """
    return _read_one(tx, _select_named(id_or_name, scope), id_or_name)


def lock_server(tx: Transaction, id_or_name: str, scope: str | None) -> ServerView | None:
    """The same, its spec held until the transaction ends: nobody else edits or purges it."""
    statement = _select_named(id_or_name, scope).with_for_update(of=server, key_share=True)
    return _read_one(tx, statement, id_or_name)


def load_server(tx: Transaction, server_id: str, scope: str | None = None) -> ServerView | None:
    """The server of exactly that id."""
    statement = select_views().where(server.c.id == server_id, _in_scope(scope))
    row = tx.execute(statement).mappings().one_or_none()
    return None if row is None else read_view(row)


def update_server(tx: Transaction, changed: Server, *, expected_generation: int) -> Server:
    """Write the spec, if it is still at ``expected_generation``.

    Everything is written but ``id``, ``number``, ``account_id``, ``game``, ``created_at``, ``files_changed_at`` and
    the retired worlds;
    ``changed.generation`` must be greater than the expected one (``ValueError``). Raises ``PreconditionFailed`` if
    somebody else wrote first or the server is gone, ``Conflict`` if its owner has another living server of the name.
    """
    if changed.generation <= expected_generation:
        raise ValueError(f"generation {changed.generation} does not follow {expected_generation}")
    try:
        row = _write(
            tx,
            update(server)
            .where(server.c.id == changed.id, server.c.generation == expected_generation)
            .values(
                name=changed.name,
                generation=changed.generation,
                desired=changed.desired,
                desired_generation=changed.desired_generation,
                restarts=changed.restarts,
                variables=dict(changed.variables),
                memory_mib=changed.memory_mib,
                storage=changed.storage,
                disk_mib=changed.disk_mib,
                network=changed.network,
                world_generation=changed.world_generation,
                updated_at=changed.updated_at,
                deleted_at=changed.deleted_at,
                purge_at=changed.purge_at,
            )
            .returning(server, retired_worlds_of(server)),
        )
    except exc.IntegrityError as error:
        if isinstance(error.orig, psycopg.Error) and error.orig.diag.constraint_name == _NAME_INDEX:
            raise _name_taken(changed.name) from error
        raise
    if row is None:
        raise PreconditionFailed(
            f"The server is not at generation {expected_generation} any more: read it again, then repeat the change."
        )
    return read_server(row, row["retired_worlds"])


def note_files_changed(tx: Transaction, server_id: str, now: datetime) -> None:
    """Remember that files of its world are about to be changed, or were. It is no wish: nobody is woken."""
    tx.execute(update(server).where(server.c.id == server_id).values(files_changed_at=now))


def purge_server(tx: Transaction, server_id: str, now: datetime) -> bool:
    """Remove the server's row, ports, address lease, status, activity and history; abort operations still open.

    Does nothing and returns False unless it is (still) wanted deleted. Operations, events and running time stay; so do
    saves and revisions of the configuration, for their time.
    """
    locked = select(server.c.id).where(server.c.id == server_id, server.c.desired == Desired.DELETED)
    if tx.execute(locked.with_for_update()).one_or_none() is None:
        return False
    release_ports(tx, server_id)
    release_lease(tx, server_id)
    abort_open_operations(tx, server_id, "The server was removed for good.", now, jobs_too=True)
    mark_gone(tx, server_id, now)
    tx.execute(delete(server).where(server.c.id == server_id))
    return True


def load_many(tx: Transaction, ids: Sequence[str]) -> dict[str, ServerRecord]:
    """What the controller reads of those servers that exist, by one statement."""
    rows = tx.execute(_SELECT_RECORDS, {"ids": list(ids)}).mappings()
    return {row["id"]: _read_record(row) for row in rows}


def _select_records() -> Select[Any]:
    open_operations = (
        select(json_array(operation, operation.c.created_at))
        .where(operation.c.server_id == server.c.id, operation.c.outcome == text("'running'"))
        .correlate(server)
        .scalar_subquery()
    )
    leases = (
        select(json_array(port_lease, port_lease.c.name))
        .where(port_lease.c.server_id == server.c.id)
        .correlate(server)
        .scalar_subquery()
    )
    return (
        select(
            server,
            retired_worlds_of(server),
            *(column.label(f"status_{column.name}") for column in server_status.c),
            open_operations.label("open_operations"),
            leases.label("leases"),
            func.to_jsonb(address.table_valued()).label("address"),
        )
        .outerjoin(address, address.c.server_id == server.c.id)
        .outerjoin(server_status, server_status.c.server_id == server.c.id)
        .where(server.c.id == any_(bindparam("ids", type_=ARRAY(Text))))
    )


_SELECT_RECORDS = _select_records()
"""Built once: a controller reads several times a second, and to build it costs as much as to run it."""


def due_ids(tx: Transaction) -> list[str]:
    """The servers whose spec the controller has not looked at yet, longest waiting first."""
    statement = (
        select(server.c.id)
        .outerjoin(server_status, server_status.c.server_id == server.c.id)
        .where(
            or_(
                server_status.c.server_id.is_(None),
                server.c.generation > server_status.c.observed_generation,
            )
        )
        .order_by(server.c.updated_at, server.c.id)
    )
    return list(tx.execute(statement).scalars())


def all_ids(tx: Transaction) -> list[str]:
    """Every server, deleted ones too."""
    return list(tx.execute(select(server.c.id)).scalars())


def _write(tx: Transaction, statement: ReturningInsert[Any] | ReturningUpdate[Any]) -> Values | None:
    """Write one row and wake the controller, by one statement."""
    written = statement.cte("written")
    return tx.execute(select(written, func.pg_notify(DESIRED, ""))).mappings().one_or_none()


def _select_named(id_or_name: str, scope: str | None) -> Select[Any]:
    is_id = server.c.id == id_or_name
    is_deleted = server.c.desired == Desired.DELETED
    rank = case((is_id, 0), (~is_deleted, 1), else_=2)
    return (
        select_views()
        .add_columns(rank.label("rank"))
        .where(or_(is_id, server.c.name == id_or_name), _in_scope(scope))
        .order_by(rank, server.c.id)
        .limit(2)
    )


def _read_one(tx: Transaction, statement: Select[Any], name: str) -> ServerView | None:
    rows = tx.execute(statement).mappings().all()
    if not rows:
        return None
    if len(rows) == 2 and rows[0]["rank"] == rows[1]["rank"]:
        kind = "deleted servers" if rows[0]["rank"] == 2 else "servers"
        raise Conflict(f"There are several {kind} named {name!r}; say which one by its id.")
    return read_view(rows[0])


def _in_scope(scope: str | None) -> Any:
    return and_(True) if scope is None else server.c.account_id == scope


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is a server named {name!r} already; choose another name.")


def _read_record(row: Values) -> ServerRecord:
    found = read_server(row, row["retired_worlds"])
    status = read_status_columns(row)
    return ServerRecord(
        server=found,
        status=status,
        state=derive_state(found, status),
        open_operations=tuple(read_operation(value) for value in row["open_operations"]),
        leases=tuple(read_lease(value) for value in row["leases"]),
        address=None if row["address"] is None else read_address(row["address"]),
    )
