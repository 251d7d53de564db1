"""What can be played."""

from __future__ import annotations

from pydantic import Field

from overworld.domain.errors import NotFound
from overworld.domain.games import Game, Protocol, VariableKind
from overworld.domain.worlds import Storage
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import Shown

routes = Routes("games", "The catalogue of games.")


class GamePort(Shown):
    """A port that the game listens on."""

    name: str
    protocol: Protocol


class GameVariable(Shown):
    """A setting that an owner may choose, with its bounds."""

    name: str
    kind: VariableKind
    description: str
    default: str | int | bool
    minimum: int | None = Field(description="Least value of an integer.")
    maximum: int | None = Field(description="Greatest value of an integer.")
    max_length: int = Field(description="Most characters of a string.")
    pattern: str | None = Field(description="Regular expression that all of a string has to match.")
    choices: list[str] = Field(description="The only values of a choice.")
    secret: bool = Field(description="No revision of a configuration shows its value.")


class GameMemory(Shown):
    """Bounds of a server's memory."""

    minimum_mib: int
    default_mib: int


class GameWorld(Shown):
    """What a world of it lies on in a cluster, where its owner chooses nothing."""

    storage: Storage = Field(description="A share that the installation does not have becomes a disk.")
    disk_mib: int | None = Field(description="Size of a disk; null: as the installation is set.")


class GameEntry(Shown):
    """One game of the catalogue."""

    slug: str
    title: str
    description: str
    ports: list[GamePort]
    variables: list[GameVariable]
    memory: GameMemory
    world: GameWorld
    accepts_commands: bool = Field(description="Whether its console takes commands.")


class GameList(Shown):
    """All games."""

    items: list[GameEntry]
    next_page_token: None = Field(description="Always null: the catalogue is one page.")


def show_game(game: Game) -> GameEntry:
    """The game as clients see it: nothing of how it is started."""
    return GameEntry(
        slug=game.slug,
        title=game.title,
        description=game.description,
        ports=[GamePort(name=port.name, protocol=port.protocol) for port in game.ports],
        variables=[
            GameVariable(
                name=variable.name,
                kind=variable.kind,
                description=variable.description,
                default=variable.default,
                minimum=variable.minimum,
                maximum=variable.maximum,
                max_length=variable.max_length,
                pattern=variable.pattern,
                choices=list(variable.choices),
                secret=variable.is_secret,
            )
            for variable in game.variables
        ],
        memory=GameMemory(minimum_mib=game.memory.minimum_mib, default_mib=game.memory.default_mib),
        world=GameWorld(storage=game.world.storage, disk_mib=game.world.disk_mib),
        accepts_commands=game.console.accepts_commands,
    )


@routes.route("GET", "/games", Answer(200, "All games, by slug.", GameList))
def list_games(call: Call) -> Reply:
    """List the games that servers can be made of."""
    games = call.installation.catalogue.games()
    return Reply(200, GameList(items=[show_game(game) for game in games], next_page_token=None))


@routes.route("GET", "/games/<slug>", Answer(200, "The game.", GameEntry))
def show(call: Call, slug: str) -> Reply:
    """Show one game."""
    game = call.installation.catalogue.find(slug)
    if game is None:
        raise NotFound("There is no such game.")
    return Reply(200, show_game(game))
