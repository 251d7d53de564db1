"""Servers: make, list, show and change them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from overworld.domain.errors import NotFound
from overworld.domain.servers import Network
from overworld.domain.state import State
from overworld.domain.worlds import MAXIMUM_DISK_MIB, MINIMUM_DISK_MIB, Storage
from overworld.services import servers as service
from overworld.store import servers as rows
from overworld.store.server_lists import ServerFilters, list_servers
from overworld.web.api.operations import OperationEntry, accepted, operation_location
from overworld.web.api.server_entry import ServerEntry, show_server
from overworld.web.dispatch import expected_versions
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import (
    MAX_INTEGER,
    PLAIN_TEXT,
    Asked,
    Flag,
    Given,
    OneOrMore,
    PageAsked,
    ReadInteger,
    Shown,
    Whole,
)

routes = Routes("servers", "Game servers.")

MAX_RETENTION_SECONDS = int(service.MAX_RETENTION.total_seconds())

VariableName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
VariableText = Annotated[str, Field(max_length=2000, pattern=PLAIN_TEXT)]
VariableNumber = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER), Whole]
VariableValue = bool | VariableNumber | VariableText
ServerName = Annotated[str, Field(min_length=1, max_length=63, pattern=PLAIN_TEXT)]
MemoryMib = Annotated[int, Field(ge=1, le=service.MAX_MEMORY_MIB), Whole]
DiskMib = Annotated[int, Field(ge=MINIMUM_DISK_MIB, le=MAXIMUM_DISK_MIB), Whole]


class ServerGiven(Given):
    """A server to make."""

    name: ServerName = Field(description="Letters of any script, digits, symbols and spaces; unique among yours.")
    game: str = Field(
        min_length=1, max_length=63, pattern=PLAIN_TEXT, description="A game's slug.", examples=["luanti"]
    )
    variables: dict[VariableName, VariableValue] = Field(
        default={}, max_length=100, description="The game's settings; those left out have their defaults."
    )
    memory_mib: MemoryMib | None = Field(default=None, description="Null: the game's default.")
    start: bool = Field(default=True, description="Whether it is to run at once.")
    storage: Storage | None = Field(
        default=None,
        strict=False,
        description="What its world lies on, for good. In a cluster: disk, or share where the installation has file "
        "shares. Null: what suits the game.",
    )
    disk_mib: DiskMib | None = Field(
        default=None, description="Size of its disk, where it has one of its own. Null: what suits the game."
    )
    network: Network | None = Field(
        default=None,
        strict=False,
        description="How players come in, for good. In a cluster: stable (an address of its own) or direct (ports of "
        "the node that it runs on; the address follows the node). Null: as the installation is set.",
    )


class ServerEdit(Given):
    """What to change of a server; what is left out (or null) stays. Takes effect at the next start, but a disk grows
    at once."""

    name: ServerName | None = None
    variables: dict[VariableName, VariableValue | None] | None = Field(
        default=None, max_length=100, description="Laid over the present ones; null sets one back to its default."
    )
    memory_mib: MemoryMib | None = None
    disk_mib: DiskMib | None = Field(default=None, description="A larger size: disks never shrink.")
    storage: Storage | None = Field(default=None, strict=False, description="Only what it is: it cannot be changed.")
    network: Network | None = Field(default=None, strict=False, description="Only what it is: it cannot be changed.")


class ServerList(Shown):
    """A page of servers."""

    items: list[ServerEntry]
    next_page_token: str | None


class ServersAsked(PageAsked):
    """Which servers, in which order."""

    state: Annotated[list[State], OneOrMore] = Field(
        default=[], max_length=len(State), description="Only those in one of these states; may be repeated."
    )
    game: str | None = Field(default=None, max_length=63, pattern=PLAIN_TEXT, description="Only of this game (slug).")
    name: str | None = Field(
        default=None, max_length=63, pattern=PLAIN_TEXT, description="Only those whose name contains this."
    )
    owner: str | None = Field(
        default=None, max_length=63, pattern=PLAIN_TEXT, description="Only of this account (id or name)."
    )
    deleted: Flag = Field(default=False, description="False: living servers only. True: deleted ones only.")
    sort: Literal["name", "-name", "created_at", "-created_at", "state", "-state"] = Field(
        default="-created_at", description="A minus turns the order round."
    )


class DeleteAsked(Asked):
    """How to delete."""

    retention_seconds: Annotated[int, Field(ge=0, le=MAX_RETENTION_SECONDS), ReadInteger] | None = Field(
        default=None, description="How long it can be undeleted; left out: as this installation is set."
    )


@routes.route("GET", "/servers", Answer(200, "A page of servers.", ServerList), query=ServersAsked)
def list_all(call: Call, query: ServersAsked) -> Reply:
    """List servers: your own; an admin sees everybody's."""
    page = list_servers(
        call.tx,
        scope=call.actor.scope,
        filters=ServerFilters(
            states=frozenset(query.state),
            game=query.game,
            name_contains=query.name,
            owner=query.owner,
            deleted=query.deleted,
        ),
        sort=query.sort,
        page_size=query.page_size,
        page_token=query.page_token,
    )
    items = [show_server(view, call.installation.catalogue) for view in page.items]
    return Reply(200, ServerList(items=items, next_page_token=page.next_token))


@routes.route(
    "POST",
    "/servers",
    Answer(
        201,
        "The server; the operation follows its creation.",
        ServerEntry,
        ("Location", "Operation-Location"),
        names={"server_id": "/id"},
    ),
    body=ServerGiven,
    problems=(403,),
)
def create(call: Call, body: ServerGiven) -> Reply:
    """Make a server."""
    catalogue = call.installation.catalogue
    view, operation = service.create(
        call.tx,
        call.actor,
        catalogue,
        name=body.name,
        game=body.game,
        variables=body.variables,
        memory_mib=body.memory_mib,
        storage=body.storage,
        disk_mib=body.disk_mib,
        network=body.network,
        start=body.start,
        offer=call.installation.settings.offer,
        now=call.now,
    )
    location = {"Location": f"/api/v1/servers/{view.server.id}"}
    return Reply(201, show_server(view, catalogue), headers=location | operation_location(operation))


@routes.route("GET", "/servers/<server_id>", Answer(200, "The server.", ServerEntry, ("ETag",)))
def show(call: Call, server_id: str) -> Reply:
    """Show one server. A deleted one is shown until it is purged."""
    view = rows.load_server(call.tx, server_id, call.actor.scope)
    if view is None:
        raise NotFound("There is no such server.")
    return Reply(200, show_server(view, call.installation.catalogue), version=service.version_of(view.server))


@routes.route(
    "PATCH",
    "/servers/<server_id>",
    Answer(200, "The server, changed.", ServerEntry, ("ETag",)),
    body=ServerEdit,
    problems=(403, 409),
    takes_if_match=True,
)
def edit(call: Call, server_id: str, body: ServerEdit) -> Reply:
    """Change name, variables or memory, or let its disk grow."""
    catalogue = call.installation.catalogue
    view = service.edit(
        call.tx,
        call.actor,
        catalogue,
        server_id,
        expected=expected_versions(),
        name=body.name,
        variables=body.variables,
        memory_mib=body.memory_mib,
        disk_mib=body.disk_mib,
        storage=body.storage,
        network=body.network,
        now=call.now,
    )
    return Reply(200, show_server(view, catalogue), version=service.version_of(view.server))


WISH = Answer(
    202, "Accepted; the operation follows it.", OperationEntry, ("Operation-Location",), names={"operation_id": "/id"}
)


@routes.route("DELETE", "/servers/<server_id>", WISH, query=DeleteAsked)
def delete(call: Call, server_id: str, query: DeleteAsked) -> Reply:
    """Delete a server: it is stopped, and its world kept until its retention has passed."""
    retention = call.installation.settings.retention
    if query.retention_seconds is not None:
        retention = timedelta(seconds=query.retention_seconds)
    has_workers = call.installation.settings.has_workers
    return accepted(service.delete(call.tx, call.actor, server_id, retention, call.now, has_workers=has_workers))


@routes.route("POST", "/servers/<server_id>/undelete", WISH)
def undelete(call: Call, server_id: str) -> Reply:
    """Bring a deleted server back, stopped."""
    return accepted(service.undelete(call.tx, call.actor, server_id, call.now))


@routes.route("POST", "/servers/<server_id>/start", WISH)
def start(call: Call, server_id: str) -> Reply:
    """Start a server; one that has crashed is started at once."""
    return accepted(service.start(call.tx, call.actor, server_id, call.now))


@routes.route("POST", "/servers/<server_id>/stop", WISH)
def stop(call: Call, server_id: str) -> Reply:
    """Stop a server: the game is asked to save and quit."""
    return accepted(service.stop(call.tx, call.actor, server_id, call.now))


@routes.route("POST", "/servers/<server_id>/restart", WISH)
def restart(call: Call, server_id: str) -> Reply:
    """Stop a server and start it again."""
    return accepted(service.restart(call.tx, call.actor, server_id, call.now))
