"""Which generation of its world a server lies on: the one change by which a restored world takes the old one's place.

Nothing here touches a file. The controller sees the new generation and does the rest while the game is stopped.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from overworld.domain.accounts import Actor
from overworld.domain.errors import Conflict, NotFound
from overworld.domain.events import NewEvent
from overworld.domain.operations import Operation, OperationKind
from overworld.domain.servers import Desired, RetiredWorld, Server, ServerId
from overworld.services.intents import record_intent
from overworld.store import events, jobs, worlds
from overworld.store import servers as rows
from overworld.store.database import Transaction

RESTORING = frozenset({OperationKind.RESTORE, OperationKind.CLONE})
MOST_KEPT = 3
"""Earlier worlds of one server: each is as large as the present one. An undo only ever goes back to the last."""


def reserve_generation(tx: Transaction, server_id: ServerId, keep_until: datetime) -> tuple[Server, int]:
    """The server and a generation of its world that was never used, remembered as retired until ``keep_until``: if it
    never becomes the present one, it is removed then. Raises NotFound, and Conflict for a deleted server."""
    server = _lock(tx, server_id)
    if server.desired is Desired.DELETED:
        raise Conflict("The server is deleted. Undelete it first.")
    known = (server.world_generation, *(world.generation for world in server.retired_worlds))
    generation = max(*known, worlds.newest_generation(tx, server_id)) + 1
    worlds.retire(tx, server_id, generation, keep_until, is_incoming=True)
    worlds.remember_generation(tx, server_id, generation)
    return server, generation


def hold(tx: Transaction, server_id: ServerId, now: datetime) -> Server:
    """The server wanted stopped for a job; ``swap`` or ``let_go`` with the generation of the answer make it run again.
    Raises NotFound, and Conflict for a deleted server."""
    server = _lock(tx, server_id)
    if server.desired is Desired.DELETED:
        raise Conflict("The server is deleted. Undelete it first.")
    return _change(tx, server, now, desired=Desired.STOPPED)


def let_go(tx: Transaction, server_id: ServerId, held_generation: int, now: datetime) -> Server:
    """The server wanted running again after ``hold``, unless somebody has wished for something else meanwhile."""
    server = _lock(tx, server_id)
    if server.desired_generation != held_generation or server.desired is not Desired.STOPPED:
        return server
    return _change(tx, server, now, desired=Desired.RUNNING)


def swap(
    tx: Transaction,
    server_id: ServerId,
    generation: int,
    *,
    keep_until: datetime,
    now: datetime,
    held_generation: int | None = None,
    start: bool = False,
) -> Server:
    """The server on ``generation`` of its world, the one before kept for undo until ``keep_until``, as the last of
    MOST_KEPT: the time of those before it has passed. One that runs is stopped first and started on it; a held one is
    started, unless somebody has wished for something else meanwhile; a stopped one stays stopped, unless ``start``.

    Safe to repeat. Raises NotFound, and Conflict for a deleted server.
    """
    server = _lock(tx, server_id)
    if server.desired is Desired.DELETED:
        raise Conflict("The server was deleted in the meantime. Undelete it, then restore again.")
    if server.world_generation == generation:
        return server
    worlds.retire(tx, server_id, server.world_generation, keep_until)
    worlds.unretire(tx, server_id, generation)
    earlier = [world for world in _kept(server, now) if world.generation != generation]
    for world in earlier[MOST_KEPT - 1 :]:
        worlds.retire(tx, server_id, world.generation, now)
    is_held = held_generation is not None and server.desired_generation == held_generation
    desired = Desired.RUNNING if is_held or start else server.desired
    restarts = server.restarts + (1 if server.desired is Desired.RUNNING else 0)
    return _change(tx, server, now, desired=desired, restarts=restarts, world_generation=generation)


def undo(tx: Transaction, actor: Actor, server_id: ServerId, keep_until: datetime, now: datetime) -> Operation:
    """The server back on the world that it had before its last restore; the present one is kept instead, so an undo
    can be undone. Raises NotFound, and Conflict if there is nothing to go back to or a restore is under way."""
    view = rows.lock_server(tx, server_id, actor.scope)
    if view is None or view.server.id != server_id:
        raise NotFound("There is no such server.")
    server = view.server
    if server.desired is Desired.DELETED:
        raise Conflict("The server is deleted. Undelete it first.")
    if any(job.kind in RESTORING for job in jobs.open_jobs(tx, server_id)):
        raise Conflict("A restore is under way: wait for its end, or cancel it.")
    kept = _kept(server, now)
    if not kept:
        raise Conflict("There is no earlier world to go back to: none was restored, or its time for undo has passed.")
    before = kept[0]
    changed = swap(tx, server_id, before.generation, keep_until=keep_until, now=now)
    operation = record_intent(tx, actor, changed, OperationKind.UNDO, now)
    message = f"World {before.generation} is back in place of world {server.world_generation}, which is kept for undo."
    events.insert_events(tx, [NewEvent(server_id, "RestoreUndone", message)], now)
    return operation


def _kept(server: Server, now: datetime) -> list[RetiredWorld]:
    """The earlier worlds that one could go back to. The one that was retired last, whose time ends last, is first."""
    kept = [world for world in server.retired_worlds if world.keep_until > now and not world.is_incoming]
    return sorted(kept, key=lambda world: (world.keep_until, world.generation), reverse=True)


def _lock(tx: Transaction, server_id: ServerId) -> Server:
    view = rows.lock_server(tx, server_id, None)
    if view is None or view.server.id != server_id:
        raise NotFound("The server is gone.")
    return view.server


def _change(tx: Transaction, server: Server, now: datetime, **changes: object) -> Server:
    generation = server.generation + 1
    wished = replace(
        server,
        generation=generation,
        desired_generation=generation,
        updated_at=now,
        **changes,  # type: ignore[arg-type]
    )
    return rows.update_server(tx, wished, expected_generation=server.generation)
