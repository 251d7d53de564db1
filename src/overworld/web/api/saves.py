"""Saves: taken, listed, pinned, restored, cloned, proven and removed. Lists come from rows, never from the store."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from overworld.domain.errors import NotFound, Unavailable
from overworld.domain.saves import Proof, Quiet, Save, SaveReason, SaveState
from overworld.services import saves as service
from overworld.services import worlds
from overworld.store import saves as rows
from overworld.store import servers as server_rows
from overworld.web.api.operations import accepted
from overworld.web.api.servers import WISH, ServerName
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import ID_PATTERN, PLAIN_TEXT, Flag, Given, PageAsked, Shown

routes = Routes("saves", "Saves of worlds, and what is done with them.")

Label = Annotated[str, Field(max_length=service.MAX_LABEL_CHARACTERS, pattern=PLAIN_TEXT)]
WorldPath = Annotated[str, Field(min_length=1, max_length=4096, pattern=PLAIN_TEXT)]


class SaveEntry(Shown):
    """One save of a world."""

    id: str
    server_id: str
    server_name: str = Field(description="As the server was called then.")
    game: str
    state: SaveState
    reason: SaveReason
    label: str
    pinned: bool = Field(description="Retention never removes it.")
    world_generation: int
    quiet: Quiet | None = Field(
        description="Whether the world held still: an `unquieted` save may be torn. Null until that is known."
    )
    off_seconds: float | None = Field(description="How long the game was told not to write; null if it was not.")
    bytes_total: int | None = Field(description="Size of the world.")
    bytes_new: int | None = Field(description="What was sent for it.")
    files: int | None
    seconds: float | None
    game_revision: str = Field(description="Revision of the game's catalogue entry.")
    configuration_revision: int = Field(description="Revision of the server's configuration; 0: before there were any.")
    proven_at: datetime | None = Field(description="When it was last restored and compared.")
    proof: Proof | None
    error: str = Field(description="Why it failed, or why it is unquieted; else empty.")
    created_at: datetime
    ended_at: datetime | None


class SaveList(Shown):
    """A page of saves."""

    items: list[SaveEntry]
    next_page_token: str | None


class SavesAsked(PageAsked):
    """Which saves."""

    gone: Flag = Field(default=False, description="True: those that were removed from the store, instead.")


class AllSavesAsked(SavesAsked):
    """Which saves, of all servers."""

    server: str | None = Field(
        default=None, pattern=f"^{ID_PATTERN}$", description="Only those of this server (id), also after it is gone."
    )


class SaveGiven(Given):
    """A save to take."""

    label: Label = ""
    pinned: bool = False


class SaveEdit(Given):
    """What to change of a save; what is left out (or null) stays."""

    label: Label | None = None
    pinned: bool | None = None


class RestoreGiven(Given):
    """What to restore."""

    save_id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
    paths: list[WorldPath] = Field(
        default=[],
        max_length=service.MOST_PATHS,
        description="Files and folders of the world; the rest of it stays as it is. Empty: the whole world.",
    )


class CloneGiven(Given):
    """A new server to make of a save."""

    name: ServerName
    start: bool = Field(default=False, description="Whether it is started at the end.")


class ProveGiven(Given):
    """Which save to prove."""

    save_id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$")] | None = Field(
        default=None, description="Null: the newest."
    )


def show_save(save: Save) -> SaveEntry:
    """The save as clients see it."""
    return SaveEntry(
        id=save.id,
        server_id=save.server_id,
        server_name=str(save.spec.get("name", "")),
        game=str(save.spec.get("game", "")),
        state=save.state,
        reason=save.reason,
        label=save.label,
        pinned=save.pinned,
        world_generation=save.world_generation,
        quiet=save.quiet,
        off_seconds=save.off_seconds,
        bytes_total=save.bytes_total,
        bytes_new=save.bytes_new,
        files=save.files,
        seconds=save.seconds,
        game_revision=save.game_revision,
        configuration_revision=save.configuration_revision,
        proven_at=save.proven_at,
        proof=save.proof,
        error=save.error,
        created_at=save.created_at,
        ended_at=save.ended_at,
    )


@routes.route("GET", "/saves", Answer(200, "A page, newest first.", SaveList), query=AllSavesAsked)
def list_all(call: Call, query: AllSavesAsked) -> Reply:
    """List saves, also those of servers that are gone."""
    return _page(call, query, query.server)


@routes.route("GET", "/servers/<server_id>/saves", Answer(200, "A page, newest first.", SaveList), query=SavesAsked)
def list_of_server(call: Call, server_id: str, query: SavesAsked) -> Reply:
    """List the saves of a server."""
    if server_rows.load_server(call.tx, server_id, call.actor.scope) is None:
        raise NotFound("There is no such server.")
    return _page(call, query, server_id)


@routes.route("POST", "/servers/<server_id>/saves", WISH, body=SaveGiven, problems=(409,))
def take(call: Call, server_id: str, body: SaveGiven) -> Reply:
    """Save a server's world. A running game is made to hold still for a moment."""
    require_workers(call)
    return accepted(service.ask(call.tx, call.actor, server_id, label=body.label, pinned=body.pinned, now=call.now))


@routes.route("GET", "/saves/<save_id>", Answer(200, "The save.", SaveEntry))
def show(call: Call, save_id: str) -> Reply:
    """Show one save."""
    return Reply(200, show_save(service.find(call.tx, call.actor, save_id)))


@routes.route("PATCH", "/saves/<save_id>", Answer(200, "The save, changed.", SaveEntry), body=SaveEdit)
def edit(call: Call, save_id: str, body: SaveEdit) -> Reply:
    """Label a save, pin it or take the pin off."""
    return Reply(200, show_save(service.edit(call.tx, call.actor, save_id, label=body.label, pinned=body.pinned)))


@routes.route("DELETE", "/saves/<save_id>", WISH, problems=(409,))
def forget(call: Call, save_id: str) -> Reply:
    """Remove a save from the store."""
    require_workers(call)
    return accepted(service.forget(call.tx, call.actor, save_id, call.now))


@routes.route("POST", "/servers/<server_id>/restore", WISH, body=RestoreGiven, problems=(409,))
def restore(call: Call, server_id: str, body: RestoreGiven) -> Reply:
    """Restore a save into its server.

    It is restored beside the present world, which stays until the moment of the swap and is then kept for undo. A
    running game is stopped for the swap and started again. With `paths` it is stopped before.
    """
    require_workers(call)
    return accepted(service.restore(call.tx, call.actor, server_id, body.save_id, paths=body.paths, now=call.now))


@routes.route("POST", "/servers/<server_id>/undo-restore", WISH, problems=(409,))
def undo(call: Call, server_id: str) -> Reply:
    """Go back to the world before the last restore; an undo can be undone."""
    keep_until = call.now + call.installation.settings.undo
    return accepted(worlds.undo(call.tx, call.actor, server_id, keep_until, call.now))


@routes.route("POST", "/saves/<save_id>/clone", WISH, body=CloneGiven, problems=(403, 409))
def clone(call: Call, save_id: str, body: CloneGiven) -> Reply:
    """Make a new server of a save; the operation's `server_id` is the new one's."""
    require_workers(call)
    _, operation = service.clone(
        call.tx,
        call.actor,
        call.installation.catalogue,
        save_id,
        name=body.name,
        start=body.start,
        offer=call.installation.settings.offer,
        now=call.now,
    )
    return accepted(operation)


@routes.route("POST", "/servers/<server_id>/prove", WISH, body=ProveGiven, problems=(409,))
def prove(call: Call, server_id: str, body: ProveGiven) -> Reply:
    """Prove a save: it is restored to scratch and compared."""
    require_workers(call)
    return accepted(service.prove(call.tx, call.actor, server_id, save_id=body.save_id, now=call.now))


@routes.route("POST", "/servers/<server_id>/check-saves", WISH, problems=(409,))
def check(call: Call, server_id: str) -> Reply:
    """Look through all that the store holds of a server."""
    require_workers(call)
    return accepted(service.check(call.tx, call.actor, server_id, call.now))


def require_workers(call: Call) -> None:
    """Nobody would ever do it where no worker reaches the worlds. Raises Unavailable."""
    if not call.installation.settings.has_workers:
        raise Unavailable("Worlds are neither saved nor restored here: the operator has set no OVERWORLD_SAVE_STORE.")


def _page(call: Call, query: SavesAsked, server_id: str | None) -> Reply:
    page = rows.list_saves(
        call.tx,
        scope=call.actor.scope,
        server_id=server_id,
        gone=query.gone,
        page_size=query.page_size,
        page_token=query.page_token,
    )
    return Reply(200, SaveList(items=[show_save(save) for save in page.items], next_page_token=page.next_token))
