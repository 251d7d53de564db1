"""What all saves together look like, for metrics: one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from overworld.store.database import Transaction

_REPORT = text("""
    SELECT
        max(CASE WHEN status.state = 'running' THEN extract(epoch FROM :now - health.last_saved_at) END) AS save_age,
        max(extract(epoch FROM :now - coalesce(health.last_proven_at, server.created_at)))
            FILTER (WHERE health.last_saved_at IS NOT NULL) AS proof_age,
        count(*) FILTER (WHERE health.problem_reason <> '') AS troubled,
        (SELECT coalesce(sum(bytes_new), 0) FROM save WHERE state = 'kept') AS bytes_kept
    FROM server
    LEFT JOIN server_status AS status ON status.server_id = server.id
    LEFT JOIN save_health AS health ON health.server_id = server.id
    WHERE server.desired <> 'deleted'
""")


@dataclass(frozen=True, slots=True)
class Report:
    """Ages in seconds are 0 where there is nothing to measure."""

    oldest_save_seconds: float
    oldest_proof_seconds: float
    troubled_servers: int
    bytes_kept: int


def read_report(tx: Transaction, now: datetime) -> Report:
    """As it is now."""
    row = tx.execute(_REPORT, {"now": now}).one()
    return Report(
        oldest_save_seconds=float(row.save_age or 0),
        oldest_proof_seconds=float(row.proof_age or 0),
        troubled_servers=row.troubled,
        bytes_kept=int(row.bytes_kept),
    )
