"""Who played, and what it used."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field

from overworld.domain.errors import BadInput, NotFound
from overworld.store import servers as server_rows
from overworld.store.usage import usage_by_server, usage_of_server
from overworld.web.api.server_entry import ServerActivity, show_activity
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import ID_PATTERN, Asked, Shown

routes = Routes("usage", "Players and resources: now, over time, and summed up.")

DEFAULT_ACTIVITY = timedelta(hours=24)
DEFAULT_USAGE = timedelta(days=31)


def _read_time(value: object) -> object:
    """Only RFC 3339 text: pydantic alone would also take numbers as seconds since 1970."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("must be a time like 2026-01-31T12:00:00Z")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_read_time)]


class ActivityStep(Shown):
    """A step of time in a server's history. Null means not known, never zero."""

    at: datetime = Field(description="When the step begins.")
    resolution_seconds: int
    samples: int
    players_max: int | None
    players_average: float | None
    cpu_percent: float | None
    memory_mib: float | None
    disk_mib: float | None


class ActivityHistory(Shown):
    """Who plays on a server now, and who did."""

    latest: ServerActivity | None
    history: list[ActivityStep] = Field(description="Oldest first. Old steps are longer than asked for.")


class PeriodAsked(Asked):
    """A period; times need their offset from UTC (`Z`)."""

    since: Time | None = Field(default=None, description="Its begin; left out: a day or a month before its end.")
    until: Time | None = Field(default=None, description="Its end, not included; left out: now.")


class ActivityAsked(PeriodAsked):
    """Which part of the history, how fine."""

    resolution_seconds: Literal["60", "3600", "86400"] = Field(default="60", description="Length of a step.")


class UsageAsked(PeriodAsked):
    """Whose usage, when. Whole UTC days that begin in the period are counted."""

    owner: str | None = Field(default=None, pattern=f"^{ID_PATTERN}$", description="Only of this account (id).")


class UsageEntry(Shown):
    """What one server used, also after it was purged."""

    account_id: str
    server_id: str
    running_seconds: float
    played_seconds: float = Field(description="Running with somebody on.")
    memory_mib_seconds: float


class UsageList(Shown):
    """Usage by server, and its sum."""

    items: list[UsageEntry]
    since: datetime
    until: datetime


@routes.route(
    "GET",
    "/servers/<server_id>/activity",
    Answer(200, "Activity now and before.", ActivityHistory),
    query=ActivityAsked,
)
def activity(call: Call, server_id: str, query: ActivityAsked) -> Reply:
    """Show who plays on a server and what it uses, with the history of a day (or the given period)."""
    view = server_rows.load_server(call.tx, server_id, call.actor.scope)
    if view is None:
        raise NotFound("There is no such server.")
    since, until = _period(call, query, DEFAULT_ACTIVITY)
    steps = usage_of_server(
        call.tx,
        scope=call.actor.scope,
        server_id=server_id,
        since=since,
        until=until,
        resolution=int(query.resolution_seconds),
    )
    history = [
        ActivityStep(
            at=step.at,
            resolution_seconds=step.seconds,
            samples=step.samples,
            players_max=step.players_max,
            players_average=step.players_average,
            cpu_percent=step.cpu_percent,
            memory_mib=step.memory_mib,
            disk_mib=step.disk_mib,
        )
        for step in steps
    ]
    latest = None if view.activity is None else show_activity(view.activity)
    return Reply(200, ActivityHistory(latest=latest, history=history))


@routes.route("GET", "/usage", Answer(200, "Usage by server.", UsageList), query=UsageAsked)
def usage(call: Call, query: UsageAsked) -> Reply:
    """Show how long servers ran and were played on: your own; an admin sees everybody's."""
    since, until = _period(call, query, DEFAULT_USAGE)
    totals = usage_by_server(call.tx, scope=call.actor.scope, since=since, until=until, account_id=query.owner)
    items = [
        UsageEntry(
            account_id=total.account_id,
            server_id=total.server_id or "",
            running_seconds=total.running_seconds,
            played_seconds=total.played_seconds,
            memory_mib_seconds=total.memory_mib_seconds,
        )
        for total in totals
    ]
    return Reply(200, UsageList(items=items, since=since, until=until))


def _period(call: Call, query: PeriodAsked, default: timedelta) -> tuple[datetime, datetime]:
    try:
        until = query.until or call.now
        since = query.since or until - default
    except OverflowError:
        raise BadInput("The period is outside of time.") from None
    if since > until:
        raise BadInput("The period ends before it begins.", errors=[{"at": "query since", "says": "is after until"}])
    return since, until
