"""What happened."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from overworld.domain.errors import NotFound
from overworld.domain.events import Event, Level
from overworld.store import servers as server_rows
from overworld.store.events import list_events
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import MAX_INTEGER, PageAsked, ReadInteger, Shown

routes = Routes("events", "What happened to servers, newest first; kept for a while.")


class EventEntry(Shown):
    """One thing that happened."""

    id: int
    server_id: str
    at: datetime
    level: Level
    reason: str = Field(description="One word; clients may switch on it.")
    message: str = Field(description="A sentence for people.")


class EventList(Shown):
    """A page of events."""

    items: list[EventEntry]
    next_page_token: str | None


class EventsAsked(PageAsked):
    """Which events."""

    after: Annotated[int, Field(ge=0, le=MAX_INTEGER), ReadInteger] | None = Field(
        default=None, description="Only those with a greater id: what is new since then."
    )


EVENTS = Answer(200, "A page, newest first.", EventList)


@routes.route("GET", "/events", EVENTS, query=EventsAsked)
def list_all(call: Call, query: EventsAsked) -> Reply:
    """List the events of all your servers (an admin: of everybody's)."""
    return _page(call, query, None)


@routes.route("GET", "/servers/<server_id>/events", EVENTS, query=EventsAsked)
def list_of_server(call: Call, server_id: str, query: EventsAsked) -> Reply:
    """List the events of one server."""
    if server_rows.load_server(call.tx, server_id, call.actor.scope) is None:
        raise NotFound("There is no such server.")
    return _page(call, query, server_id)


def _page(call: Call, query: EventsAsked, server_id: str | None) -> Reply:
    page = list_events(
        call.tx,
        scope=call.actor.scope,
        server_id=server_id,
        after_id=query.after,
        page_size=query.page_size,
        page_token=query.page_token,
    )
    return Reply(200, EventList(items=[_show(event) for event in page.items], next_page_token=page.next_token))


def _show(event: Event) -> EventEntry:
    return EventEntry(
        id=event.id,
        server_id=event.server_id,
        at=event.at,
        level=event.level,
        reason=event.reason,
        message=event.message,
    )
