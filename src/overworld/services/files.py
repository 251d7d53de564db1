"""Who may do what to the files of a world: the tickets by which the worker does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from overworld.domain.accounts import Actor
from overworld.domain.errors import Conflict, NotFound
from overworld.domain.events import NewEvent
from overworld.domain.servers import Desired
from overworld.domain.state import State
from overworld.domain.tickets import LIFETIME, Ticket
from overworld.store import events
from overworld.store import servers as rows
from overworld.store.database import Transaction
from overworld.store.server_rows import ServerView

_RUNNING = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Permit:
    """A ticket, and whether a game works on the same files meanwhile."""

    ticket: Ticket
    is_running: bool


def permit_reading(tx: Transaction, actor: Actor, server_id: str, request: Mapping[str, Any], now: datetime) -> Permit:
    """The ticket for ``request`` (of the world agent), which changes nothing. A deleted server's files can be read
    until its world is removed. Raises NotFound, and Conflict for a server whose world was never made."""
    return _permit(_find(tx, actor, server_id), actor, request, now)


def permit_changing(
    tx: Transaction, actor: Actor, server_id: str, request: Mapping[str, Any], now: datetime, *, phrase: str
) -> Permit:
    """The same for what changes files; an event says that the actor did what ``phrase`` says. Also raises Conflict
    for a deleted server."""
    view = _find(tx, actor, server_id)
    if view.server.desired is Desired.DELETED:
        raise Conflict("The server is deleted. Undelete it first.")
    permit = _permit(view, actor, request, now)
    message = f"{actor.name} {phrase}"
    shown = message if len(message) <= _SHOWN_CHARACTERS else f"{message[:_SHOWN_CHARACTERS]}…"
    events.insert_events(tx, [NewEvent(server_id, "FilesChanged", f"{shown}.")], now)
    return permit


def _find(tx: Transaction, actor: Actor, server_id: str) -> ServerView:
    view = rows.load_server(tx, server_id, actor.scope)
    if view is None:
        raise NotFound("There is no such server.")
    return view


def _permit(view: ServerView, actor: Actor, request: Mapping[str, Any], now: datetime) -> Permit:
    if view.status.world_seen == 0:
        raise Conflict("The server has no world yet. It is made at the first start.", reason="WorldMissing")
    ticket = Ticket(actor.account_id, view.server.id, view.server.world_generation, request, now + LIFETIME)
    return Permit(ticket, view.state in _RUNNING)
