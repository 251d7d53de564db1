"""Who may do what to the files of a world: the tickets by which the worker does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from overworld.domain.accounts import Actor
from overworld.domain.errors import Conflict, NotFound
from overworld.domain.events import Level, NewEvent
from overworld.domain.operations import Operation, Outcome, derive_progress
from overworld.domain.servers import NOT_YET_SEEN, Desired
from overworld.domain.state import State
from overworld.domain.tickets import LIFETIME, Ticket
from overworld.services.unsaved import save_before_edit
from overworld.store import events, operations
from overworld.store import servers as rows
from overworld.store.database import Transaction
from overworld.store.server_rows import ServerView

_RUNNING = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Permit:
    """A ticket, and whether a game works on the same files meanwhile. What changes files may have to wait for ``save``;
    ``says`` is what it does, for its event."""

    ticket: Ticket
    is_running: bool
    says: str = ""
    save: Operation | None = None


def permit_reading(tx: Transaction, actor: Actor, server_id: str, request: Mapping[str, Any], now: datetime) -> Permit:
    """The ticket for ``request`` (of the world agent), which changes nothing. A deleted server's files can be read
    until its world is removed. Raises NotFound, and Conflict for a server whose world was never made."""
    return _permit(_find(tx, actor, server_id), actor, request, now)


def permit_changing(
    tx: Transaction,
    actor: Actor,
    server_id: str,
    request: Mapping[str, Any],
    now: datetime,
    *,
    phrase: str,
    save_within: timedelta | None,
) -> Permit:
    """The same for what changes files; ``phrase`` says what the actor does. Whoever uses it awaits its save
    (``is_ready``) and afterwards calls ``record_change``.

    The save is asked for unless one was taken within ``save_within`` or nothing would be lost; None: there is none to
    wait for. Also raises Conflict for a deleted server.
    """
    view = _find(tx, actor, server_id)
    if view.server.desired is Desired.DELETED:
        raise Conflict("The server is deleted. Undelete it first.")
    permit = _permit(view, actor, request, now)
    save = None if save_within is None else save_before_edit(tx, view, save_within, now)
    if save is None:
        rows.note_files_changed(tx, server_id, now)
    return replace(permit, says=f"{actor.name} {phrase}", save=save)


def is_ready(tx: Transaction, permit: Permit, now: datetime) -> bool:
    """Whether the save that came before is there, or has failed once: what cannot be saved holds nobody up, and an
    event says so."""
    assert permit.save is not None
    save = operations.find_operation(tx, permit.save.id, None)
    if save is not None and save.outcome is Outcome.RUNNING and save.attempts < 2:
        return False
    if save is None or save.outcome is not Outcome.SUCCEEDED:
        why = "" if save is None else save.message or derive_progress(save, NOT_YET_SEEN).message
        message = f"The world could not be saved before its files were changed. {why}".rstrip()
        events.insert_events(tx, [NewEvent(permit.ticket.server_id, "NotSavedBefore", message, Level.WARNING)], now)
    rows.note_files_changed(tx, permit.ticket.server_id, now)
    return True


def say_not_ready(tx: Transaction, permit: Permit) -> Conflict:
    """Why the change is not made now, and what its owner can do."""
    assert permit.save is not None
    save = operations.find_operation(tx, permit.save.id, None) or permit.save
    return Conflict(
        f"The world is being saved before its files are changed, and that takes a while: "
        f"{derive_progress(save, NOT_YET_SEEN).message} Repeat this when operation {save.id} has ended, or say "
        "`unsaved` to have it done at once.",
        reason="SaveUnderWay",
        operation_id=save.id,
    )


def record_change(tx: Transaction, permit: Permit, now: datetime) -> None:
    """The change was made: an event says who did what."""
    shown = permit.says if len(permit.says) <= _SHOWN_CHARACTERS else f"{permit.says[:_SHOWN_CHARACTERS]}…"
    events.insert_events(tx, [NewEvent(permit.ticket.server_id, "FilesChanged", f"{shown}.")], now)
    rows.note_files_changed(tx, permit.ticket.server_id, now)


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
