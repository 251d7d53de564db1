"""The history of use: steps of time that get coarser with age, and running time a day for every account."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, func, select, text

from overworld.domain.errors import BadInput
from overworld.domain.servers import ServerId
from overworld.store.database import Transaction
from overworld.store.tables import server, usage_hours, usage_sample

RESOLUTIONS = (60, 3600, 86400)
"""Seconds of a step. Each is kept for the time below, then merged into the next or dropped."""

KEPT = {60: timedelta(hours=24), 3600: timedelta(days=30), 86400: timedelta(days=730)}

MOVE_AT_MOST = 50_000
STEPS_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a server. None means not known; ``cpu_percent`` is of one core."""

    server_id: ServerId
    at: datetime
    players: int | None
    cpu_percent: float | None
    memory_mib: float | None
    disk_mib: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """What a server used in the ``seconds`` from ``at``: averages of the ``samples`` in which it was known, and the
    most players. None means never known."""

    at: datetime
    seconds: int
    samples: int
    players_max: int | None
    players_average: float | None
    cpu_percent: float | None
    memory_mib: float | None
    disk_mib: float | None


@dataclass(frozen=True, slots=True)
class RunningTime:
    """Time that a server ran, to be added to the UTC day of ``at``; played means with somebody on."""

    account_id: str
    server_id: ServerId
    at: datetime
    running_seconds: float
    played_seconds: float
    memory_mib_seconds: float


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The running time of a server, or (``server_id`` None) of all of an account's, deleted ones too."""

    account_id: str
    server_id: ServerId | None
    running_seconds: float
    played_seconds: float
    memory_mib_seconds: float


# Averages are weighted by their numbers of samples; greatest() and coalesce() let what is known win over null.
_MERGE = """
    ON CONFLICT (server_id, resolution, at) DO UPDATE SET
        samples = present.samples + excluded.samples,
        players_samples = present.players_samples + excluded.players_samples,
        players_max = greatest(present.players_max, excluded.players_max),
        players_average = coalesce(
            (present.players_average * present.players_samples + excluded.players_average * excluded.players_samples)
                / nullif(present.players_samples + excluded.players_samples, 0),
            present.players_average, excluded.players_average),
        cpu_percent = coalesce(
            (present.cpu_percent * present.samples + excluded.cpu_percent * excluded.samples)
                / (present.samples + excluded.samples),
            present.cpu_percent, excluded.cpu_percent),
        memory_mib = coalesce(
            (present.memory_mib * present.samples + excluded.memory_mib * excluded.samples)
                / (present.samples + excluded.samples),
            present.memory_mib, excluded.memory_mib),
        disk_mib = coalesce(
            (present.disk_mib * present.samples + excluded.disk_mib * excluded.samples)
                / (present.samples + excluded.samples),
            present.disk_mib, excluded.disk_mib)
"""

_ADD_SAMPLES = text(f"""
    INSERT INTO usage_sample AS present (
        server_id, resolution, at, samples, players_samples, players_max, players_average,
        cpu_percent, memory_mib, disk_mib
    )
    SELECT server.id, 60, given.step, given.samples, given.players_samples, given.players_max, given.players_average,
        given.cpu_percent, given.memory_mib, given.disk_mib
    FROM (
        SELECT server_id, date_bin('60 s', at, 'epoch'::timestamptz) AS step, count(*) AS samples,
            count(players) AS players_samples, max(players) AS players_max, avg(players) AS players_average,
            avg(cpu_percent) AS cpu_percent, avg(memory_mib) AS memory_mib, avg(disk_mib) AS disk_mib
        FROM jsonb_to_recordset(CAST(:samples AS jsonb)) AS raw (
            server_id text, at timestamptz, players integer, cpu_percent double precision,
            memory_mib double precision, disk_mib double precision
        )
        GROUP BY server_id, step
    ) AS given
    JOIN server ON server.id = given.server_id
    ORDER BY server.id, given.step
    FOR KEY SHARE OF server
    {_MERGE}
""")  # noqa: S608 - both texts are constants

_MOVE = text(f"""
    WITH old AS (
        SELECT ctid FROM usage_sample WHERE resolution = :finer AND at < :before LIMIT :at_most
    ), moved AS (
        DELETE FROM usage_sample USING old WHERE usage_sample.ctid = old.ctid RETURNING usage_sample.*
    ), merged AS (
        INSERT INTO usage_sample AS present (
            server_id, resolution, at, samples, players_samples, players_max, players_average,
            cpu_percent, memory_mib, disk_mib
        )
        SELECT server_id, :coarser, date_bin(make_interval(secs => :coarser), at, 'epoch'::timestamptz) AS step,
            sum(samples), sum(players_samples), max(players_max),
            sum(players_average * players_samples) / nullif(sum(players_samples), 0),
            sum(cpu_percent * samples) / nullif(sum(samples) FILTER (WHERE cpu_percent IS NOT NULL), 0),
            sum(memory_mib * samples) / nullif(sum(samples) FILTER (WHERE memory_mib IS NOT NULL), 0),
            sum(disk_mib * samples) / nullif(sum(samples) FILTER (WHERE disk_mib IS NOT NULL), 0)
        FROM moved
        GROUP BY server_id, step
        {_MERGE}
    )
    SELECT count(*) FROM moved
""")  # noqa: S608 - both texts are constants

_DROP = text("""
    DELETE FROM usage_sample WHERE ctid IN (
        SELECT ctid FROM usage_sample WHERE resolution = :resolution AND at < :before LIMIT :at_most
    )
""")

_ADD_RUNNING_TIME = text("""
    INSERT INTO usage_hours AS present (
        account_id, server_id, day, running_seconds, played_seconds, memory_mib_seconds
    )
    SELECT account_id, server_id, date_bin('1 day', at, 'epoch'::timestamptz) AS day,
        sum(running_seconds), sum(played_seconds), sum(memory_mib_seconds)
    FROM jsonb_to_recordset(CAST(:times AS jsonb)) AS given (
        account_id text, server_id text, at timestamptz, running_seconds double precision,
        played_seconds double precision, memory_mib_seconds double precision
    )
    GROUP BY account_id, server_id, day
    ORDER BY account_id, server_id, day
    ON CONFLICT (account_id, server_id, day) DO UPDATE SET
        running_seconds = present.running_seconds + excluded.running_seconds,
        played_seconds = present.played_seconds + excluded.played_seconds,
        memory_mib_seconds = present.memory_mib_seconds + excluded.memory_mib_seconds
""")


def add_samples(tx: Transaction, samples: Sequence[Sample]) -> None:
    """Merge the samples into steps of a minute by one statement (none for none); those of purged servers are left
    out. Adds up: not safe to repeat."""
    if not samples:
        return
    rows = [
        {
            "server_id": sample.server_id,
            "at": sample.at.isoformat(),
            "players": sample.players,
            "cpu_percent": sample.cpu_percent,
            "memory_mib": sample.memory_mib,
            "disk_mib": sample.disk_mib,
        }
        for sample in samples
    ]
    tx.execute(_ADD_SAMPLES, {"samples": json.dumps(rows)})


def thin(tx: Transaction, now: datetime) -> int:
    """Merge steps that are old enough into coarser ones, drop those of more than two years; how many were moved or
    dropped, at most 50,000 of each resolution: call again while it is not 0.

    Nothing is counted twice: a step is moved, not copied, so it is safe to repeat, and to be interrupted.
    """
    changed = 0
    for finer, coarser in pairwise(RESOLUTIONS):
        before = _start_of_step(now - KEPT[finer], coarser)
        given = {"finer": finer, "coarser": coarser, "before": before, "at_most": MOVE_AT_MOST}
        changed += tx.execute(_MOVE, given).scalar_one()
    last = RESOLUTIONS[-1]
    before = _start_of_step(now - KEPT[last], last)
    return changed + tx.execute(_DROP, {"resolution": last, "before": before, "at_most": MOVE_AT_MOST}).rowcount


def usage_of_server(
    tx: Transaction, *, scope: str | None, server_id: ServerId, since: datetime, until: datetime, resolution: int
) -> tuple[Step, ...]:
    """The history of a server of the account ``scope`` (None: of anybody's) from ``since`` to before ``until``,
    oldest first, in steps of ``resolution`` seconds; older parts come in the coarser steps that are left of them.

    At most 10,000 steps, the oldest. Raises ``BadInput`` for a resolution that is not 60, 3600 or 86400.
    """
    if resolution not in RESOLUTIONS:
        raise BadInput(
            f"The resolution is {resolution} s; possible: {', '.join(map(str, RESOLUTIONS))}.",
            errors=[{"at": "/resolution", "says": f"must be one of {', '.join(map(str, RESOLUTIONS))}"}],
        )
    stored = usage_sample.c
    seconds = func.greatest(stored.resolution, resolution)
    step = func.date_bin(func.make_interval(0, 0, 0, 0, 0, 0, seconds), stored.at, datetime(1970, 1, 1, tzinfo=UTC))
    samples = func.sum(stored.samples)
    statement = (
        select(
            step.label("at"),
            seconds.label("seconds"),
            samples.label("samples"),
            func.max(stored.players_max).label("players_max"),
            _average(stored.players_average, stored.players_samples).label("players_average"),
            _average(stored.cpu_percent, stored.samples).label("cpu_percent"),
            _average(stored.memory_mib, stored.samples).label("memory_mib"),
            _average(stored.disk_mib, stored.samples).label("disk_mib"),
        )
        .where(stored.server_id == server_id, stored.at >= since, stored.at < until)
        .group_by(text("1, 2"))
        .order_by(text("1, 2"))
        .limit(STEPS_AT_MOST)
    )
    if scope is not None:
        statement = statement.join(server, server.c.id == stored.server_id).where(server.c.account_id == scope)
    return tuple(Step(**row) for row in tx.execute(statement).mappings())


def add_running_time(tx: Transaction, times: Sequence[RunningTime]) -> None:
    """Add the times to their days by one statement (none for none). Adds up: not safe to repeat."""
    if not times:
        return
    rows = [
        {
            "account_id": time.account_id,
            "server_id": time.server_id,
            "at": time.at.isoformat(),
            "running_seconds": time.running_seconds,
            "played_seconds": time.played_seconds,
            "memory_mib_seconds": time.memory_mib_seconds,
        }
        for time in times
    ]
    tx.execute(_ADD_RUNNING_TIME, {"times": json.dumps(rows)})


def usage_by_account(tx: Transaction, *, scope: str | None, since: datetime, until: datetime) -> tuple[UsageTotal, ...]:
    """The running time of each account (``scope``: of that one only) on the UTC days that begin from ``since`` to
    before ``until``."""
    return _total(tx, (usage_hours.c.account_id,), since, until, owners=(scope,))


def usage_by_server(
    tx: Transaction, *, scope: str | None, since: datetime, until: datetime, account_id: str | None = None
) -> tuple[UsageTotal, ...]:
    """The same for each server, also of one account's alone."""
    return _total(tx, (usage_hours.c.account_id, usage_hours.c.server_id), since, until, owners=(scope, account_id))


def _total(
    tx: Transaction,
    group: Sequence[ColumnElement[Any]],
    since: datetime,
    until: datetime,
    *,
    owners: Sequence[str | None],
) -> tuple[UsageTotal, ...]:
    hours = usage_hours.c
    statement = (
        select(
            *group,
            func.sum(hours.running_seconds).label("running_seconds"),
            func.sum(hours.played_seconds).label("played_seconds"),
            func.sum(hours.memory_mib_seconds).label("memory_mib_seconds"),
        )
        .where(hours.day >= since, hours.day < until)
        .group_by(*group)
        .order_by(*group)
    )
    for owner in owners:
        if owner is not None:
            statement = statement.where(hours.account_id == owner)
    return tuple(UsageTotal(**{"server_id": None, **row}) for row in tx.execute(statement).mappings())


def _average(value: ColumnElement[Any], weight: ColumnElement[Any]) -> ColumnElement[Any]:
    """The average of what is known, weighted."""
    return func.sum(value * weight) / func.nullif(func.sum(weight).filter(value.is_not(None)), 0)


def _start_of_step(at: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, tz=UTC)
