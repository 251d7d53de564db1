"""Durable jobs: an open operation whose kind is one of ``JOBS``, and a row of procrastinate that wakes a worker for it.

The operation is the truth: it says what is to be done and how far it is. A row of procrastinate only says that
somebody should look; one too many costs a look, one that was lost is found by ``lost_jobs``.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from overworld.domain.operations import JOBS, Operation, Progress
from overworld.store.codecs import clean_text, read_operation
from overworld.store.database import Transaction
from overworld.store.notify import notify
from overworld.store.operations import IS_OPEN
from overworld.store.tables import operation

QUEUE = "worlds"
TASK = "work"

CANCELLED = "job_cancelled"
"""The channel of every operation that somebody calls off."""

_ENQUEUE = text("""
    SELECT procrastinate.procrastinate_defer_jobs_v1(ARRAY[ROW(
        CAST(:queue AS varchar), CAST(:task AS varchar), 0, NULL::text, NULL::text,
        jsonb_build_object('operation_id', CAST(:operation_id AS text)), CAST(:at AS timestamptz)
    )]::procrastinate.procrastinate_job_to_defer_v1[])
""")

# A job that waits is 'todo', one in work holds the lease on its world. What is neither was in the hands of a worker
# that died, or of one that has only just taken it: for that one the second look costs nothing.
_LOST = text("""
    SELECT operation.id FROM operation
    WHERE operation.outcome = 'running' AND operation.kind = ANY(:kinds) AND operation.created_at < :before
        AND NOT EXISTS (
            SELECT FROM world_lease
            WHERE world_lease.operation_id = operation.id AND world_lease.expires_at > clock_timestamp()
        )
        AND NOT EXISTS (
            SELECT FROM procrastinate.procrastinate_jobs AS job
            WHERE job.status = 'todo' AND job.args ->> 'operation_id' = operation.id
        )
    ORDER BY operation.created_at LIMIT 1000
""")

_FORGET_DEAD = text("""
    DELETE FROM procrastinate.procrastinate_jobs AS job
    WHERE job.status <> 'todo' AND (
        job.status <> 'doing' OR job.worker_id IS NULL OR EXISTS (
            SELECT FROM procrastinate.procrastinate_workers AS worker
            WHERE worker.id = job.worker_id AND worker.last_heartbeat < now() - CAST(:patience AS interval)
        )
    )
""")


def enqueue(tx: Transaction, operation_id: str, *, at: datetime | None = None) -> None:
    """Have a worker look at that operation once this transaction has committed, not before ``at``."""
    tx.execute(_ENQUEUE, {"queue": QUEUE, "task": TASK, "operation_id": operation_id, "at": at})


def begin_attempt(tx: Transaction, operation_id: str) -> Operation | None:
    """The operation, one more attempt counted; None if it has ended."""
    row = (
        tx.execute(
            update(operation)
            .where(operation.c.id == operation_id, IS_OPEN)
            .values(attempts=operation.c.attempts + 1)
            .returning(operation)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else read_operation(row)


def write_arguments(tx: Transaction, operation_id: str, arguments: dict[str, object]) -> None:
    """Remember what the next attempt has to know."""
    tx.execute(
        update(operation)
        .where(operation.c.id == operation_id, IS_OPEN)
        .values(arguments=operation.c.arguments.op("||")(bindparam("new", arguments, JSONB)))
    )


def write_progress(tx: Transaction, operation_id: str, progress: Progress) -> datetime | None:
    """Store how far it is; when it was asked to be called off, if it was."""
    said = asdict(progress) | {"message": clean_text(progress.message)}
    return tx.execute(
        update(operation)
        .where(operation.c.id == operation_id, IS_OPEN)
        .values(progress=said)
        .returning(operation.c.cancel_asked_at)
    ).scalar()


def ask_to_cancel(tx: Transaction, operation_id: str, now: datetime) -> None:
    """Have its worker end it soon. Safe to repeat."""
    tx.execute(
        update(operation)
        .where(operation.c.id == operation_id, IS_OPEN)
        .values(cancel_asked_at=func.coalesce(operation.c.cancel_asked_at, now))
    )
    notify(tx, CANCELLED)


def open_jobs(tx: Transaction, server_id: str) -> list[Operation]:
    """The open jobs of a server, oldest first."""
    rows = tx.execute(
        select(operation)
        .where(operation.c.server_id == server_id, IS_OPEN, operation.c.kind.in_(JOBS))
        .order_by(operation.c.created_at)
    ).mappings()
    return [read_operation(row) for row in rows]


def saves_in_use(tx: Transaction) -> set[str]:
    """The saves that open jobs restore, clone or prove, whichever server they are for."""
    save_id = operation.c.arguments["save_id"].astext
    return set(tx.execute(select(save_id).where(IS_OPEN, save_id.is_not(None))).scalars())


def lost_jobs(tx: Transaction, now: datetime, *, older_than: timedelta) -> list[str]:
    """Open jobs that nobody works on and nobody is told of, oldest first; at most 1,000. Those younger than
    ``older_than`` may be in the hands of somebody who has only just been told."""
    kinds = [kind.value for kind in JOBS]
    return list(tx.execute(_LOST, {"kinds": kinds, "before": now - older_than}).scalars())


def forget_dead(tx: Transaction, patience: timedelta) -> int:
    """Remove the rows of procrastinate that ended, or whose worker has been silent for ``patience``; how many."""
    return tx.execute(_FORGET_DEAD, {"patience": patience}).rowcount
