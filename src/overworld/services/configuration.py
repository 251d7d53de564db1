"""Looking through the revisions of a server's configuration, and going back to one."""

from __future__ import annotations

from datetime import datetime

import structlog

from overworld.domain.accounts import Actor
from overworld.domain.errors import Conflict, NotFound
from overworld.domain.revisions import Revision
from overworld.games.catalogue import Catalogue
from overworld.services import servers
from overworld.store import revisions as rows
from overworld.store import servers as server_rows
from overworld.store.database import Transaction

log = structlog.get_logger(__name__)


def find(tx: Transaction, actor: Actor, server_id: str, number: int) -> tuple[Revision, Revision | None]:
    """The revision, and the one before it of the same thing (None: it is the first). Raises NotFound."""
    found = rows.find_revision(tx, server_id, number, actor.scope)
    if found is None:
        raise NotFound("There is no such revision of such a server.")
    return found, rows.newest_of(tx, server_id, found.path, before=number)


def restore(
    tx: Transaction, actor: Actor, catalogue: Catalogue, server_id: str, *, number: int, now: datetime
) -> Revision:
    """The server with the name, memory and variables of that revision of its settings, as a new revision; the newest
    one if they are what it has already. Takes effect at the next start, as an edit does. A disk stays as large as it
    is: none shrinks.

    Raises NotFound, and as ``servers.edit``: Conflict for a deleted server or a name that is taken meanwhile,
    BadInput for variables that the game no longer allows, QuotaExceeded.
    """
    target, _ = find(tx, actor, server_id, number)
    if target.path is not None:
        raise ValueError(f"revision {number} is about a file")
    view = server_rows.load_server(tx, server_id, actor.scope)
    if view is None:
        raise Conflict("The server is gone. Clone one of its saves, which have its settings too.")
    entry = catalogue.find(view.server.game)
    settings = target.content
    known = () if entry is None else entry.variables
    servers.edit(
        tx,
        actor,
        catalogue,
        server_id,
        expected=None,
        name=settings["name"],
        variables={variable.name: settings["variables"].get(variable.name) for variable in known},
        memory_mib=settings["memory_mib"],
        disk_mib=_if_larger(settings["disk_mib"], view.server.disk_mib),
        now=now,
        restored_from=number,
    )
    newest = rows.newest_of(tx, server_id, None)
    assert newest is not None
    log.info("a configuration was restored", server_id=server_id, account_id=actor.account_id, revision=number)
    return newest


def _if_larger(disk_mib: int | None, present_mib: int | None) -> int | None:
    return disk_mib if disk_mib is not None and present_mib is not None and disk_mib > present_mib else None
