"""How each server's world is saved and how that went: policies (web), the due-table of schedules, health (worker)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.activity import Presence
from overworld.domain.saves import Played, SaveHealth, SavePolicy
from overworld.domain.servers import ServerId
from overworld.store.codecs import Values, clean_text, read_health, read_time
from overworld.store.database import Transaction
from overworld.store.save_tables import save_health, save_policy

# A server without a row gets one: those made by an older Overworld, and new ones.
_ADOPT = text("""
    INSERT INTO save_policy (server_id, version)
    SELECT server.id, 1 FROM server
    WHERE server.desired <> 'deleted' AND NOT EXISTS (
        SELECT FROM save_policy WHERE save_policy.server_id = server.id
    )
    ON CONFLICT DO NOTHING
""")

# SKIP LOCKED: two ticks at once share the work. A server whose policy is being edited is due a tick later.
_TAKE_DUE = text("""
    SELECT policy.*, server.created_at AS server_created_at FROM save_policy AS policy
    JOIN server ON server.id = policy.server_id AND server.desired <> 'deleted'
    WHERE policy.next_at IS NULL OR policy.next_at <= :now
        OR policy.check_at IS NULL OR policy.check_at <= :now
        OR policy.drill_at IS NULL OR policy.drill_at <= :now
    ORDER BY policy.next_at NULLS FIRST LIMIT :limit
    FOR UPDATE OF policy SKIP LOCKED
""")

_READY = """jsonb_path_query_first(status.conditions, '$[*] ? (@.type == "Ready")')"""

# A server that ended since its last save and has none of that time yet. What begins again first is left to schedules.
_STOPPED_UNSAVED = text(f"""
    SELECT server.id FROM server
    JOIN server_status AS status ON status.server_id = server.id
    WHERE status.state IN ('stopped', 'deleted') AND status.world_seen > 0
        AND {_READY} ->> 'reason' = 'Stopped'
        AND NOT EXISTS (
            SELECT FROM save WHERE save.server_id = server.id
                AND save.created_at >= CAST({_READY} ->> 'since' AS timestamptz) AND save.reason <> 'upload'
        )
        AND status.conditions @? '$[*] ? (@.type == "Saved" && @.reason != "NeverStopped")'
    ORDER BY status.updated_at LIMIT :limit
    FOR KEY SHARE OF server
""")  # noqa: S608 - nothing of the outside is in it

_HAS_ENDED = text("""
    SELECT 1 FROM server_status AS status WHERE status.server_id = :server_id
        AND status.conditions @? '$[*] ? (@.type == "Saved" && @.reason != "NeverStopped")'
""")

_PLAYED = text(f"""
    SELECT
        CASE WHEN status.state IN ('stopped', 'deleted') AND {_READY} ->> 'reason' = 'Stopped'
            THEN CAST({_READY} ->> 'since' AS timestamptz) END AS stopped_since,
        activity.presence, activity.last_active_at,
        coalesce(sum(sample.samples - sample.players_samples), 0) AS unknown_looks,
        count(sample.at) AS minutes_seen
    FROM server_status AS status
    LEFT JOIN server_activity AS activity ON activity.server_id = status.server_id
    LEFT JOIN usage_sample AS sample
        ON sample.server_id = status.server_id AND sample.resolution = 60 AND sample.at > :since
    WHERE status.server_id = :server_id
    GROUP BY status.server_id, activity.server_id
""")  # noqa: S608 - nothing of the outside is in it


@dataclass(frozen=True, slots=True)
class Due:
    """A policy of which something is due; None in a time means that it was never planned."""

    policy: SavePolicy
    check_at: datetime | None
    drill_at: datetime | None


def adopt_servers(tx: Transaction) -> int:
    """Give every living server a policy that says nothing; how many got one."""
    return tx.execute(_ADOPT).rowcount


def take_due(tx: Transaction, now: datetime, *, limit: int) -> list[Due]:
    """Policies of living servers of which something is due, locked until the transaction ends."""
    rows = tx.execute(_TAKE_DUE, {"now": now, "limit": limit}).mappings()
    return [
        Due(
            _read_policy(row),
            None if row["check_at"] is None else read_time(row["check_at"]),
            None if row["drill_at"] is None else read_time(row["drill_at"]),
        )
        for row in rows
    ]


def plan_next(tx: Transaction, server_id: ServerId, times: Mapping[str, datetime]) -> None:
    """Store when something is due next: any of ``next_at``, ``check_at``, ``drill_at``."""
    tx.execute(update(save_policy).where(save_policy.c.server_id == server_id).values(**times))


def stopped_unsaved(tx: Transaction, *, limit: int) -> list[ServerId]:
    """Servers that have ended and that were not saved since."""
    return list(tx.execute(_STOPPED_UNSAVED, {"limit": limit}).scalars())


def read_played(tx: Transaction, server_id: ServerId, since: datetime) -> Played | None:
    """What is known of play on that server since then; None if nothing was ever seen of it."""
    row = tx.execute(_PLAYED, {"server_id": server_id, "since": since}).mappings().one_or_none()
    if row is None:
        return None
    return Played(
        stopped_since=None if row["stopped_since"] is None else read_time(row["stopped_since"]),
        presence=None if row["presence"] is None else Presence(row["presence"]),
        last_active_at=None if row["last_active_at"] is None else read_time(row["last_active_at"]),
        unknown_looks=int(row["unknown_looks"]),
        minutes_seen=int(row["minutes_seen"]),
    )


def never_ran(tx: Transaction, server_id: ServerId) -> bool:
    """Whether no end of its game was ever seen; asked only of servers that are not wanted running."""
    return tx.execute(_HAS_ENDED, {"server_id": server_id}).scalar() is None


def find_policy(tx: Transaction, server_id: ServerId) -> tuple[SavePolicy, int]:
    """The policy of a server and its version; version 0 for one that was never written."""
    row = tx.execute(select(save_policy).where(save_policy.c.server_id == server_id)).mappings().one_or_none()
    return (SavePolicy(server_id), 0) if row is None else (_read_policy(row), row["version"])


def write_policy(tx: Transaction, server_id: ServerId, values: Mapping[str, Any]) -> tuple[SavePolicy, int]:
    """The policy with those columns changed, planned anew at the next tick; and its version."""
    offered = insert(save_policy).values(server_id=server_id, version=1, next_at=None, **values)
    row = tx.execute(
        offered.on_conflict_do_update(
            index_elements=[save_policy.c.server_id],
            set_={"version": save_policy.c.version + 1, "next_at": None, **values},
        ).returning(save_policy)
    ).mappings()
    found = row.one()
    return _read_policy(found), found["version"]


def find_health(tx: Transaction, server_id: ServerId) -> SaveHealth:
    """What the saves of a server have shown."""
    row = tx.execute(select(save_health).where(save_health.c.server_id == server_id)).mappings().one_or_none()
    return SaveHealth() if row is None else read_health(row)


def write_health(tx: Transaction, server_id: ServerId, values: Mapping[str, Any]) -> None:
    """Remember what was shown; does nothing for a server that is gone."""
    if "problem" in values:
        values = {**values, "problem": clean_text(values["problem"])}
    columns = [*values]
    names = ", ".join(columns)
    given = ", ".join(f":{name}" for name in columns)
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns)
    tx.execute(
        text(
            f"INSERT INTO save_health (server_id, {names}) SELECT server.id, {given} FROM server "  # noqa: S608
            f"WHERE server.id = :server_id FOR KEY SHARE ON CONFLICT (server_id) DO UPDATE SET {changed}"
        ),
        {"server_id": server_id, **values},
    )


def write_problem(tx: Transaction, server_id: ServerId, reason: str, message: str, now: datetime) -> None:
    """The server's saves have that problem now."""
    write_health(tx, server_id, {"problem_reason": reason, "problem": message, "problem_since": now})


def solve_problem(tx: Transaction, server_id: ServerId, reason: str) -> None:
    """They do not have it any more; another one stays."""
    tx.execute(
        update(save_health)
        .where(save_health.c.server_id == server_id, save_health.c.problem_reason == reason)
        .values(problem_reason="", problem="", problem_since=None)
    )


def _read_policy(row: Values) -> SavePolicy:
    return SavePolicy(
        server_id=row["server_id"],
        cron=row["cron"],
        time_zone=row["time_zone"],
        keep_last=row["keep_last"],
        keep_hourly=row["keep_hourly"],
        keep_daily=row["keep_daily"],
        keep_weekly=row["keep_weekly"],
        keep_monthly=row["keep_monthly"],
        quota_mib=row["quota_mib"],
        drill=row["drill"],
        next_at=None if row["next_at"] is None else read_time(row["next_at"]),
    )
