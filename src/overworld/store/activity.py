"""Activity rows: written by the monitor, in batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text

from overworld.domain.activity import Activity
from overworld.domain.servers import Endpoint, ServerId
from overworld.domain.state import State
from overworld.store.codecs import clean_text, read_endpoint
from overworld.store.database import Transaction
from overworld.store.server_rows import read_activity_columns
from overworld.store.tables import server, server_activity, server_status


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What the monitor reads of a server that has a process, or is about to; ``activity`` is the latest."""

    server_id: ServerId
    account_id: str
    name: str
    game: str
    memory_mib: int
    state: State
    endpoints: tuple[Endpoint, ...]
    activity: Activity | None


# The row locks are those of write_statuses, for the same reasons.
_UPSERT = text("""
    INSERT INTO server_activity AS present (
        server_id, presence, players, max_players, names, cpu_percent, memory_mib, disk_mib,
        seen_at, last_active_at, join_seen_at
    )
    SELECT server.id, given.presence, given.players, given.max_players, given.names, given.cpu_percent,
        given.memory_mib, given.disk_mib, given.seen_at, given.last_active_at, given.join_seen_at
    FROM jsonb_to_recordset(CAST(:activities AS jsonb)) AS given (
        server_id text, presence text, players integer, max_players integer, names jsonb,
        cpu_percent double precision, memory_mib double precision, disk_mib double precision,
        seen_at timestamptz, last_active_at timestamptz, join_seen_at timestamptz
    )
    JOIN server ON server.id = given.server_id
    ORDER BY server.id
    FOR KEY SHARE OF server
    ON CONFLICT (server_id) DO UPDATE SET
        presence = excluded.presence,
        players = excluded.players,
        max_players = excluded.max_players,
        names = excluded.names,
        cpu_percent = excluded.cpu_percent,
        memory_mib = excluded.memory_mib,
        disk_mib = excluded.disk_mib,
        seen_at = excluded.seen_at,
        last_active_at = greatest(present.last_active_at, excluded.last_active_at),
        join_seen_at = greatest(present.join_seen_at, excluded.join_seen_at)
""")


def write_activities(tx: Transaction, activities: Mapping[ServerId, Activity]) -> None:
    """Store the latest activity of many servers by one statement (none for none).

    ``last_active_at`` and ``join_seen_at`` never go back, nor are they forgotten. Purged servers are left out. Safe
    to repeat.
    """
    if activities:
        rows = [_write_activity(server_id, activity) for server_id, activity in activities.items()]
        tx.execute(_UPSERT, {"activities": json.dumps(rows)})


def list_running(tx: Transaction) -> list[RunningServer]:
    """The servers that may have a process, by one statement: those that the controller saw starting, running,
    stopping or failed (too late to get ready is no end), and those whose activity does not say yet that nothing runs
    (no memory in use), so that one that stopped while nobody looked is looked at once more."""
    states = (State.STARTING, State.RUNNING, State.STOPPING, State.FAILED)
    by_state = select(server_status.c.server_id).where(server_status.c.state.in_(states))
    by_activity = select(server_activity.c.server_id).where(server_activity.c.memory_mib.is_distinct_from(0))
    rows = tx.execute(
        select(
            server.c.id,
            server.c.account_id,
            server.c.name,
            server.c.game,
            server.c.memory_mib,
            server_status.c.state,
            server_status.c.endpoints,
            *(column.label(f"activity_{column.name}") for column in server_activity.c),
        )
        .join_from(server_status, server, server.c.id == server_status.c.server_id)
        .outerjoin(server_activity, server_activity.c.server_id == server_status.c.server_id)
        .where(server.c.id.in_(by_state.union(by_activity)))
        .order_by(server.c.id)
    ).mappings()
    return [
        RunningServer(
            server_id=row["id"],
            account_id=row["account_id"],
            name=row["name"],
            game=row["game"],
            memory_mib=row["memory_mib"],
            state=State(row["state"]),
            endpoints=tuple(read_endpoint(endpoint) for endpoint in row["endpoints"]),
            activity=read_activity_columns(row),
        )
        for row in rows
    ]


def _write_activity(server_id: ServerId, activity: Activity) -> dict[str, Any]:
    return {
        "server_id": server_id,
        "presence": activity.presence,
        "players": activity.players,
        "max_players": activity.max_players,
        "names": [clean_text(name) for name in activity.names],
        "cpu_percent": activity.cpu_percent,
        "memory_mib": activity.memory_mib,
        "disk_mib": activity.disk_mib,
        "seen_at": activity.seen_at.isoformat(),
        "last_active_at": activity.last_active_at and activity.last_active_at.isoformat(),
        "join_seen_at": activity.join_seen_at and activity.join_seen_at.isoformat(),
    }
