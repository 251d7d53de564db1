"""The one tick of every schedule: saves, checks and drills that are due, opened in the transaction that plans the next.

Nothing is remembered between two ticks, so any number of workers may tick: rows that one holds the others skip.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from overworld.domain.cron import next_save, parse_cron
from overworld.domain.errors import BadInput
from overworld.domain.operations import OperationKind
from overworld.domain.saves import SavePolicy, SaveReason, SaveState, nobody_has_played
from overworld.domain.servers import Desired, Server
from overworld.services.jobs import open_job
from overworld.services.saves import open_save
from overworld.store import jobs, save_policies, saves
from overworld.store import servers as rows
from overworld.store.database import Transaction
from overworld.time_zones import find_zone

log = structlog.get_logger(__name__)

AT_ONCE = 200
FULL = 10
"""Open jobs of a server, after which schedules wait: people come first."""
LOST_AFTER = timedelta(seconds=10)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Terms:
    """How this installation saves where a server's policy says nothing. ``jitter`` spreads what is due at once."""

    cron: str
    time_zone: str
    jitter: timedelta
    check_every: timedelta
    drill_every: timedelta
    drill: bool


@dataclass(slots=True)
class Ticked:
    """What a tick did."""

    opened: int = 0
    skipped: int = 0
    requeued: int = 0


def tick(tx: Transaction, terms: Terms, now: datetime) -> Ticked:
    """Open what is due, and have somebody look at jobs that were lost with their worker."""
    ticked = Ticked()
    save_policies.adopt_servers(tx)
    for due in save_policies.take_due(tx, now, limit=AT_ONCE):
        view = rows.load_server(tx, due.policy.server_id)
        if view is None or len(jobs.open_jobs(tx, due.policy.server_id)) >= FULL:
            continue  # it stays due
        times: dict[str, datetime] = {}
        if due.policy.next_at is None or due.policy.next_at <= now:
            times["next_at"] = plan_save(due.policy, terms.cron, terms.time_zone, terms.jitter, now)
            if due.policy.next_at is not None:
                _open_scheduled(tx, view.server, ticked, now)
        kinds = (
            ("check_at", due.check_at, terms.check_every, OperationKind.CHECK),
            ("drill_at", due.drill_at, terms.drill_every, OperationKind.DRILL),
        )
        for name, at, every, kind in kinds:
            if at is not None and at > now:
                continue
            # First spread over the whole interval, then at even distances.
            times[name] = now + (every * _share(view.server.id, name) if at is None else every)
            if at is not None:
                wants_drill = terms.drill if due.policy.drill is None else due.policy.drill
                _open_proof(tx, view.server, kind, now, wants_drill=wants_drill, ticked=ticked)
        save_policies.plan_next(tx, view.server.id, times)
    for server_id in save_policies.stopped_unsaved(tx, limit=AT_ONCE):
        view = rows.load_server(tx, server_id)
        if view is not None and not _is_waiting(tx, view.server, OperationKind.SAVE):
            deleted = view.server.desired is Desired.DELETED
            open_save(tx, view.server, SaveReason.BEFORE_DELETE if deleted else SaveReason.STOP, now)
            ticked.opened += 1
    for operation_id in jobs.lost_jobs(tx, now, older_than=LOST_AFTER):
        jobs.enqueue(tx, operation_id)
        ticked.requeued += 1
    return ticked


def _open_scheduled(tx: Transaction, server: Server, ticked: Ticked, now: datetime) -> None:
    last = saves.last_kept(tx, server.id)
    played = save_policies.read_played(tx, server.id, last.created_at) if last is not None else None
    changed_at = server.files_changed_at
    is_changed = changed_at is not None and (last is None or last.created_at <= changed_at)
    never_ran = last is None and _never_ran(tx, server)
    is_idle = last is not None and played is not None and nobody_has_played(last.created_at, played, now)
    if (never_ran or is_idle) and not is_changed:
        ticked.skipped += 1
    elif not _is_waiting(tx, server, OperationKind.SAVE):
        open_save(tx, server, SaveReason.SCHEDULE, now)
        ticked.opened += 1


def _open_proof(
    tx: Transaction, server: Server, kind: OperationKind, now: datetime, *, wants_drill: bool, ticked: Ticked
) -> None:
    last = saves.last_kept(tx, server.id)
    if last is None or last.state is not SaveState.KEPT or _is_waiting(tx, server, kind):
        return
    if kind is OperationKind.DRILL and (not wants_drill or last.proven_at is not None):
        return
    open_job(tx, server, kind, {"save_id": last.id} if kind is OperationKind.DRILL else {}, now)
    ticked.opened += 1


def plan_save(policy: SavePolicy, cron: str, time_zone: str, jitter: timedelta, now: datetime) -> datetime:
    """When the server is saved next, where its policy says nothing by that schedule; NEVER if on none."""
    text = cron if policy.cron is None else policy.cron
    if not text:
        return NEVER
    try:
        at = next_save(parse_cron(text), find_zone(policy.time_zone or time_zone), policy.server_id, now, jitter)
    except BadInput as error:  # it was right when it was stored: a time zone that this machine does not know
        log.error("a schedule cannot be read", server_id=policy.server_id, error=error.detail)
        return now + timedelta(days=1)
    return at or NEVER


def _is_waiting(tx: Transaction, server: Server, kind: OperationKind) -> bool:
    return any(job.kind is kind for job in jobs.open_jobs(tx, server.id))


def _never_ran(tx: Transaction, server: Server) -> bool:
    """Whether it has never been started, so that there is no world worth a save."""
    return server.desired is not Desired.RUNNING and save_policies.never_ran(tx, server.id)


def _share(server_id: str, name: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{name} {server_id}".encode()).digest()[:4], "big") / 2**32
