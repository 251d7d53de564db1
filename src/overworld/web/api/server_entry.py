"""A server as clients see it."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from overworld.domain.activity import Activity, Presence
from overworld.domain.conditions import Truth
from overworld.domain.games import Protocol
from overworld.domain.saves import derive_save_conditions
from overworld.domain.servers import Desired, Network
from overworld.domain.state import State
from overworld.domain.worlds import Storage
from overworld.games.catalogue import Catalogue
from overworld.games.launch import render_connect
from overworld.store.server_rows import ServerView
from overworld.web.wire import Shown


class ServerEndpoint(Shown):
    """Where one of a server's ports is reached."""

    name: str
    protocol: Protocol
    host: str
    port: int
    dns_name: str | None = Field(description="Leads to the same address, where it has a name.")


class ServerCondition(Shown):
    """One thing that was seen of a server."""

    type: str
    status: Truth
    reason: str = Field(description="One word; clients may switch on it.")
    message: str = Field(description="A sentence for people.")
    since: datetime
    observed_generation: int


class ServerActivity(Shown):
    """Who plays and what it uses, as last seen. Null means not known, never zero."""

    presence: Presence
    players: int | None
    max_players: int | None
    names: list[str] = Field(description="May be fewer than `players`: some games hide names.")
    cpu_percent: float | None = Field(description="Of one core.")
    memory_mib: float | None
    disk_mib: float | None
    seen_at: datetime
    last_active_at: datetime | None


class ServerSaves(Shown):
    """How its saves are. Null means never."""

    last_saved_at: datetime | None = Field(description="When the newest save in the store was begun.")
    last_proven_at: datetime | None = Field(description="When a save was last restored to scratch and compared.")
    last_checked_at: datetime | None = Field(description="When the store was last looked through.")
    problem: str = Field(description="What is wrong and how to mend it; empty where nothing is.")


class ServerOwner(Shown):
    """Whose server it is."""

    id: str
    name: str


class ServerEntry(Shown):
    """A game server: what is wanted of it and what was seen of it."""

    id: str
    name: str
    game: str
    owner: ServerOwner
    state: State
    desired: Desired
    generation: int = Field(description="Grows with every change of what is wanted.")
    observed_generation: int = Field(description="The generation that the controller has looked at.")
    memory_mib: int
    storage: Storage | None = Field(description="What its world lies on; null where there is no choice (one machine).")
    disk_mib: int | None = Field(description="Size of its disk; null where nothing limits the size of its world alone.")
    network: Network | None = Field(description="How players come in; null where there is no choice (one machine).")
    variables: dict[str, str | int | bool]
    endpoints: list[ServerEndpoint]
    connect: str | None = Field(description="How a player gets in; null while there is no address.")
    conditions: list[ServerCondition]
    activity: ServerActivity | None
    saves: ServerSaves
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    purge_at: datetime | None = Field(description="When a deleted server's world is removed for good.")


def show_server(view: ServerView, catalogue: Catalogue) -> ServerEntry:
    """The server as clients see it."""
    server, status = view.server, view.status
    game = catalogue.find(server.game)
    return ServerEntry(
        id=server.id,
        name=server.name,
        game=server.game,
        owner=ServerOwner(id=server.account_id, name=view.owner_name),
        state=view.state,
        desired=server.desired,
        generation=server.generation,
        observed_generation=status.observed_generation,
        memory_mib=server.memory_mib,
        storage=server.storage,
        disk_mib=server.disk_mib,
        network=server.network,
        variables=dict(server.variables),
        endpoints=[
            ServerEndpoint(
                name=endpoint.name,
                protocol=endpoint.protocol,
                host=endpoint.host,
                port=endpoint.port,
                dns_name=endpoint.dns_name,
            )
            for endpoint in status.endpoints
        ],
        connect=render_connect(game, status.endpoints) if game is not None and status.endpoints else None,
        conditions=[
            ServerCondition(
                type=condition.type,
                status=condition.status,
                reason=condition.reason,
                message=condition.message,
                since=condition.since,
                observed_generation=condition.observed_generation,
            )
            for condition in (*status.conditions, *derive_save_conditions(view.saves, status.observed_generation))
        ],
        activity=None if view.activity is None else show_activity(view.activity),
        saves=ServerSaves(
            last_saved_at=view.saves.last_saved_at,
            last_proven_at=view.saves.last_proven_at,
            last_checked_at=view.saves.last_checked_at,
            problem=view.saves.problem,
        ),
        created_at=server.created_at,
        updated_at=server.updated_at,
        deleted_at=server.deleted_at,
        purge_at=server.purge_at,
    )


def show_activity(activity: Activity) -> ServerActivity:
    """The activity as clients see it."""
    return ServerActivity(
        presence=activity.presence,
        players=activity.players,
        max_players=activity.max_players,
        names=list(activity.names),
        cpu_percent=activity.cpu_percent,
        memory_mib=activity.memory_mib,
        disk_mib=activity.disk_mib,
        seen_at=activity.seen_at,
        last_active_at=activity.last_active_at,
    )
