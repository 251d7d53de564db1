"""Worlds that somebody brings: the archive goes into a generation of its own, of which a worker makes a save.

The generation is never the present one, and no earlier one either: what is left of an upload that broke off anywhere
is removed when its time has passed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from overworld.domain.accounts import Actor
from overworld.domain.errors import Conflict, NotFound
from overworld.domain.operations import Operation, OperationKind
from overworld.domain.servers import ServerId
from overworld.domain.tickets import LIFETIME, Ticket
from overworld.services import worlds
from overworld.services.jobs import open_job
from overworld.store import servers as rows
from overworld.store import worlds as world_rows
from overworld.store.database import Transaction
from overworld.store.server_rows import ServerView

MOST_AT_ONCE = 3
"""Generations of one server that may be in the making, those that broke off included until they are removed: each has
an archive and what it holds on the disk, in a cluster on one of its own."""
ARRIVES_WITHIN = timedelta(hours=12)
WORKED_ON_WITHIN = timedelta(days=2)
ARCHIVE = ".overworld-archive"
"""Where the world agent looks for it (engines/agent.py)."""


def permit(
    tx: Transaction, actor: Actor, server_id: ServerId, *, most_bytes: int, bytes_said: int, now: datetime
) -> Ticket:
    """The ticket for sending the archive, of at most ``most_bytes``. ``accept`` follows when it is there, else
    ``drop``.

    Raises NotFound, and Conflict for a deleted server and while too many uploads or restores of it are under way.
    """
    _find(tx, actor, server_id)
    server, generation = worlds.reserve_generation(tx, server_id, now + ARRIVES_WITHIN + LIFETIME)
    in_the_making = [each for each in server.retired_worlds if each.is_incoming]  # also what is to be removed soon
    if len(in_the_making) >= MOST_AT_ONCE:
        raise Conflict(f"{MOST_AT_ONCE} uploads or restores of this server are under way. Wait for the end of one.")
    request = {
        "verb": "upload",
        "path": ARCHIVE,
        "most_bytes": most_bytes,
        "bytes": bytes_said,
        "seconds": ARRIVES_WITHIN.total_seconds(),
        "like": server.world_generation,
    }
    return Ticket(actor.account_id, server_id, generation, request, now + LIFETIME)


def accept(
    tx: Transaction, actor: Actor, server_id: ServerId, generation: int, *, label: str, pinned: bool, now: datetime
) -> Operation:
    """The archive, which is there, made a save. Raises NotFound, and Conflict while too many jobs wait."""
    server = _find(tx, actor, server_id).server
    world_rows.retire(tx, server_id, generation, now + WORKED_ON_WITHIN, is_incoming=True)
    arguments = {"generation": generation, "label": label, "pinned": pinned, "by": actor.name}
    event = ("WorldUploaded", f"{actor.name} uploaded a world, to be a save.")
    return open_job(tx, server, OperationKind.UPLOAD, arguments, now, event=event)


def drop(tx: Transaction, server_id: ServerId, generation: int, now: datetime) -> None:
    """What there is of an upload that broke off is removed soon. Safe to repeat; does nothing for a server that is
    gone."""
    if rows.load_server(tx, server_id) is not None:
        world_rows.retire(tx, server_id, generation, now, is_incoming=True)


def _find(tx: Transaction, actor: Actor, server_id: ServerId) -> ServerView:
    view = rows.load_server(tx, server_id, actor.scope)
    if view is None:
        raise NotFound("There is no such server.")
    return view
