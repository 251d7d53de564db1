"""Asking for saves, and for what is done with them. Whoever asks gets an operation; a worker does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from overworld.domain.accounts import Actor
from overworld.domain.cron import parse_cron
from overworld.domain.errors import BadInput, Conflict, NotFound, PreconditionFailed
from overworld.domain.offers import Offer
from overworld.domain.operations import Operation, OperationKind
from overworld.domain.saves import Save, SavePolicy, SaveReason, SaveState
from overworld.domain.servers import Desired, Server
from overworld.domain.tickets import LIFETIME, Ticket
from overworld.games.catalogue import Catalogue
from overworld.services import servers
from overworld.services.jobs import open_job
from overworld.services.worlds import RESTORING
from overworld.store import jobs, save_policies
from overworld.store import saves as rows
from overworld.store import servers as server_rows
from overworld.store.database import Transaction
from overworld.store.server_rows import ServerView
from overworld.time_zones import find_zone

MAX_LABEL_CHARACTERS = 200
MOST_PATHS = 100

_NOT_KEPT = {
    SaveState.RUNNING: "The save is still being taken: wait for its end.",
    SaveState.FAILED: "The save failed, so the store has nothing of it. Choose one that is kept.",
    SaveState.GONE: "The save is not in the store any more. Choose one that is kept.",
}


def find(tx: Transaction, actor: Actor, save_id: str) -> Save:
    """The save. Raises NotFound."""
    found = rows.find_save(tx, save_id, actor.scope)
    if found is None:
        raise NotFound("There is no such save.")
    return found


def ask(tx: Transaction, actor: Actor, server_id: str, *, label: str, pinned: bool, now: datetime) -> Operation:
    """The server's world saved as it is when its turn comes. Raises NotFound, and Conflict while too many jobs wait."""
    server = _find_server(tx, actor, server_id).server
    arguments = {"reason": SaveReason.ON_DEMAND.value, "label": label, "pinned": pinned, "by": actor.name}
    return open_job(tx, server, OperationKind.SAVE, arguments, now)


def open_save(tx: Transaction, server: Server, reason: SaveReason, now: datetime) -> Operation:
    """The same without anybody asking: by a schedule, or before something risky."""
    return open_job(tx, server, OperationKind.SAVE, {"reason": reason.value, "label": "", "pinned": False}, now)


def edit(tx: Transaction, actor: Actor, save_id: str, *, label: str | None, pinned: bool | None) -> Save:
    """The save with another label, pinned or not. A pinned one is never removed by retention. Raises NotFound."""
    found = find(tx, actor, save_id)
    values: dict[str, Any] = {}
    if label is not None:
        values["label"] = label
    if pinned is not None:
        values["pinned"] = pinned
    return (rows.write_save(tx, save_id, values) if values else found) or found


def forget(tx: Transaction, actor: Actor, save_id: str, now: datetime) -> Operation:
    """The save removed from the store. Raises NotFound, Conflict for one that is pinned or not in the store."""
    found = _kept(tx, actor, save_id)
    if found.pinned:
        raise Conflict("The save is pinned. Take the pin off first.")
    view = server_rows.load_server(tx, found.server_id, actor.scope)
    if view is None:
        raise Conflict(
            "The server of the save is gone for good, and its saves go when the time has passed for which they are kept"
            " (OVERWORLD_SAVE_RETENTION). Until then the save can be cloned."
        )
    server = view.server
    event = ("SaveDeleteAsked", f"{actor.name} asked to remove the save of {found.created_at:%Y-%m-%d %H:%M} UTC.")
    return open_job(tx, server, OperationKind.FORGET, {"save_ids": [found.id]}, now, event=event)


def restore(
    tx: Transaction, actor: Actor, server_id: str, save_id: str, *, paths: Sequence[str], now: datetime
) -> Operation:
    """The server on the world of that save, or (``paths``) on its present world with those files and folders as they
    were then. The world before it is kept for undo, and saved first.

    Raises NotFound, BadInput for a path that cannot be, and Conflict for a deleted server, a save that is not in the
    store or of another server, or while another restore is under way.
    """
    server = _find_server(tx, actor, server_id).server
    if server.desired is Desired.DELETED:
        raise Conflict("The server is deleted. Undelete it first.")
    found = _kept(tx, actor, save_id)
    if found.server_id != server.id:
        raise Conflict("The save is of another server. Clone it to make a new server of it.")
    _check_no_restore(tx, server)
    checked = clean_paths(paths)
    what = "the whole world" if not checked else ", ".join(checked[:3]) + (" and more" if len(checked) > 3 else "")
    event = ("RestoreAsked", f"{actor.name} asked to restore {what} of {found.created_at:%Y-%m-%d %H:%M} UTC.")
    arguments = {"save_id": found.id, "paths": list(checked), "by": actor.name}
    return open_job(tx, server, OperationKind.RESTORE, arguments, now, event=event)


def clone(
    tx: Transaction,
    actor: Actor,
    catalogue: Catalogue,
    save_id: str,
    *,
    name: str,
    start: bool,
    offer: Offer,
    now: datetime,
) -> tuple[ServerView, Operation]:
    """A new server of the actor's own with the world, game and variables of that save, started at the end if ``start``.

    Raises as ``servers.create`` does, NotFound, and Conflict for a save that is not in the store.
    """
    found = _kept(tx, actor, save_id)
    spec = found.spec
    entry = catalogue.find(str(spec["game"]))
    if entry is None:
        raise Conflict(f"This installation no longer offers the game {spec['game']!r}.")
    saved = spec["variables"]
    variables = (
        {key: value for key, value in saved.items() if entry.variable(key)} if isinstance(saved, Mapping) else {}
    )
    memory = spec["memory_mib"]
    view, _ = servers.create(
        tx,
        actor,
        catalogue,
        name=name,
        game=entry.slug,
        variables=variables,
        memory_mib=memory if isinstance(memory, int) else None,
        start=False,
        offer=offer,
        now=now,
    )
    arguments = {"save_id": found.id, "paths": [], "start": start, "by": actor.name}
    event = (
        "CloneAsked",
        f"{actor.name} asked for a clone of {spec['name']} of {found.created_at:%Y-%m-%d %H:%M} UTC.",
    )
    after = now + timedelta(microseconds=1)  # the creation: the newest operation is the one to wait for
    return view, open_job(tx, view.server, OperationKind.CLONE, arguments, after, event=event)


def prove(tx: Transaction, actor: Actor, server_id: str, *, save_id: str | None, now: datetime) -> Operation:
    """A restore drill: the save (None: the newest) restored to scratch and compared. Raises NotFound, and Conflict
    where there is no save."""
    server = _find_server(tx, actor, server_id).server
    found = rows.last_kept(tx, server.id, uploads=True) if save_id is None else _kept(tx, actor, save_id)
    if found is None or found.server_id != server.id:
        raise Conflict("The server has no such save to prove.")
    return open_job(tx, server, OperationKind.DRILL, {"save_id": found.id}, now)


def check(tx: Transaction, actor: Actor, server_id: str, now: datetime) -> Operation:
    """Everything that the store holds of the server looked through. Raises NotFound, Conflict."""
    server = _find_server(tx, actor, server_id).server
    if rows.last_kept(tx, server.id, uploads=True) is None:
        raise Conflict("The server has no save to check.")
    return open_job(tx, server, OperationKind.CHECK, {}, now)


def permit_reading(tx: Transaction, actor: Actor, save_id: str, request: Mapping[str, Any], now: datetime) -> Ticket:
    """The ticket for ``request`` (list or download) on the files of that save. Raises NotFound, and Conflict for a save
    that is not in the store."""
    found = _kept(tx, actor, save_id)
    asked = {**request, "snapshot": found.snapshot_id}
    return Ticket(actor.account_id, found.server_id, found.world_generation, asked, now + LIFETIME)


def show_policy(tx: Transaction, actor: Actor, server_id: str) -> tuple[SavePolicy, int]:
    """The policy of the server and its version. Raises NotFound."""
    return save_policies.find_policy(tx, _find_server(tx, actor, server_id).server.id)


def edit_policy(
    tx: Transaction,
    actor: Actor,
    server_id: str,
    changes: Mapping[str, Any],
    *,
    expected: Set[str] | None,
    now: datetime,
) -> tuple[SavePolicy, int]:
    """The policy changed; None as a value sets one back to the installation's default. Raises NotFound, BadInput (also
    for a schedule that never comes), and PreconditionFailed if the version is none of ``expected``."""
    server = _find_server(tx, actor, server_id).server
    present, version = save_policies.find_policy(tx, server.id)
    if expected is not None and str(version) not in expected:
        raise PreconditionFailed("The policy was changed since you read it. Read it again and repeat the edit.")
    if changes.get("cron") and parse_cron(changes["cron"]).next_after(now, UTC) is None:
        says = "never comes: no such day is in any of the next eight years"
        raise BadInput(f"The schedule {says}.", errors=[{"at": "/cron", "says": says}])
    if changes.get("time_zone"):
        find_zone(changes["time_zone"])
    if not changes:
        return present, version
    return save_policies.write_policy(tx, server.id, changes)


def clean_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """The paths without doubles and without those below another one. Raises BadInput for one that leaves the world."""
    if len(paths) > MOST_PATHS:
        raise _bad_path(f"at most {MOST_PATHS} at once; restore a folder instead")
    clean: set[PurePosixPath] = set()
    for given in paths:
        path = PurePosixPath(given.strip("/"))
        if not path.parts or ".." in path.parts or "\0" in given:
            raise _bad_path(f"{given!r} is not a path inside the world")
        clean.add(path)
    return tuple(sorted(str(path) for path in clean if not any(parent in clean for parent in path.parents)))


def _bad_path(says: str) -> BadInput:
    return BadInput(f"The paths: {says}.", errors=[{"at": "/paths", "says": says}])


def _find_server(tx: Transaction, actor: Actor, server_id: str) -> ServerView:
    view = server_rows.load_server(tx, server_id, actor.scope)
    if view is None:
        raise NotFound("There is no such server.")
    return view


def _kept(tx: Transaction, actor: Actor, save_id: str) -> Save:
    found = find(tx, actor, save_id)
    if found.state is not SaveState.KEPT:
        raise Conflict(_NOT_KEPT[found.state])
    return found


def _check_no_restore(tx: Transaction, server: Server) -> None:
    if any(job.kind in RESTORING for job in jobs.open_jobs(tx, server.id)):
        raise Conflict("Another restore of this server is under way: wait for its end, or cancel it.")
