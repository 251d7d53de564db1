"""How a server is read: spec, status, activity and owner by one statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Table, Text, func, literal_column, select

from overworld.domain.activity import Activity
from overworld.domain.saves import SaveHealth
from overworld.domain.servers import NOT_YET_SEEN, Server, Status
from overworld.domain.state import State, derive_state
from overworld.store.codecs import Values, read_activity, read_health, read_server, read_status
from overworld.store.save_tables import save_health
from overworld.store.tables import account, retired_world, server, server_activity, server_status

# A server that the controller has not seen yet has no status row.
STORED_STATE: ColumnElement[str] = func.coalesce(server_status.c.state, literal_column("'pending'", Text))


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server as people see it. ``state`` is derived from the two beside it, so it is never behind them."""

    server: Server
    status: Status
    state: State
    activity: Activity | None
    owner_name: str
    saves: SaveHealth = field(default_factory=SaveHealth)


def retired_worlds_of(source: FromClause) -> ColumnElement[Any]:
    """The retired worlds of each row of ``source`` as a JSON array, oldest first."""
    return (
        select(json_array(retired_world, retired_world.c.generation))
        .where(retired_world.c.server_id == source.c.id)
        .correlate(source)
        .scalar_subquery()
        .label("retired_worlds")
    )


def json_array(source: Table, order_by: ColumnElement[Any]) -> ColumnElement[Any]:
    """The rows of ``source`` as one JSON array of objects; empty where there are none."""
    rows = func.jsonb_agg(func.to_jsonb(source.table_valued())).aggregate_order_by(order_by)
    return func.coalesce(rows, literal_column("'[]'::jsonb"))


def select_views(source: FromClause = server) -> Select[Any]:
    """Every view of the servers in ``source`` (the table, or a subquery with its columns)."""
    return (
        select(
            *(source.c[column.name] for column in server.c),
            retired_worlds_of(source),
            *(column.label(f"status_{column.name}") for column in server_status.c),
            *(column.label(f"activity_{column.name}") for column in server_activity.c),
            *(column.label(f"saves_{column.name}") for column in save_health.c),
            account.c.name.label("owner_name"),
        )
        .join_from(source, account, account.c.id == source.c.account_id)
        .outerjoin(server_status, server_status.c.server_id == source.c.id)
        .outerjoin(server_activity, server_activity.c.server_id == source.c.id)
        .outerjoin(save_health, save_health.c.server_id == source.c.id)
    )


def read_view(row: Values) -> ServerView:
    """The view of a row of ``select_views``."""
    found = read_server(row, row["retired_worlds"])
    status = read_status_columns(row)
    return ServerView(
        server=found,
        status=status,
        state=derive_state(found, status),
        activity=read_activity_columns(row),
        owner_name=row["owner_name"],
        saves=read_health_columns(row),
    )


def read_status_columns(row: Values) -> Status:
    """The status of the columns ``status_*``; never seen where they are null."""
    if row["status_server_id"] is None:
        return NOT_YET_SEEN
    return read_status(
        observed_generation=row["status_observed_generation"],
        conditions=row["status_conditions"],
        endpoints=row["status_endpoints"],
        updated_at=row["status_updated_at"],
        world_seen=row["status_world_seen"],
        place=row["status_place"],
        node=row["status_node"],
    )


def read_activity_columns(row: Values) -> Activity | None:
    """The activity of the columns ``activity_*``, or None where they are null."""
    if row["activity_server_id"] is None:
        return None
    return read_activity({column.name: row[f"activity_{column.name}"] for column in server_activity.c})


def read_health_columns(row: Values) -> SaveHealth:
    """What the saves have shown, of the columns ``saves_*``."""
    if row["saves_server_id"] is None:
        return SaveHealth()
    return read_health({column.name: row[f"saves_{column.name}"] for column in save_health.c})
