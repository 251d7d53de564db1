"""What a game file may say, field by field. docs/schema/game.schema.json and docs/games.md are checked against this.

The shapes are here; what the parts of one file must agree on (placeholders, ports, patterns) is in ``checks``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from overworld.domain.games import FileFormat, Protocol
from overworld.domain.worlds import MAXIMUM_DISK_MIB, MINIMUM_DISK_MIB, Storage

SLUG = r"^[a-z][a-z0-9-]{0,31}$"
NAME = r"^[a-z][a-z0-9_]{0,31}$"
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
FILE_KEY = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"
ENVIRONMENT_NAME = r"^[A-Z][A-Z0-9_]{0,63}$"
IMAGE = r"^[a-z0-9]+([._/-][a-z0-9]+)*$"

Name = Annotated[str, Field(pattern=NAME)]
FileName = Annotated[str, Field(pattern=FILE_NAME)]
FileKey = Annotated[str, Field(pattern=FILE_KEY)]
Image = Annotated[str, Field(pattern=IMAGE, max_length=100)]
EnvironmentName = Annotated[str, Field(pattern=ENVIRONMENT_NAME)]
Template = Annotated[str, Field(max_length=2000)]
Regex = Annotated[str, Field(min_length=1, max_length=500)]
NonEmpty = Annotated[str, Field(min_length=1, max_length=2000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PortPart(_Part):
    """A port the game listens on."""

    name: Name = Field(description="How templates call it: {{ports.NAME}}.")
    protocol: Annotated[Protocol, Field(strict=False)] = Field(description="Transport of the port.")
    default: int = Field(ge=1, le=65535, description="The game's own number, used where a server has its own IP.")


class _VariablePart(_Part):
    description: NonEmpty = Field(description="A sentence for the owner: what it does, and in which unit.")


class StringVariable(_VariablePart):
    """A text of one line."""

    kind: Literal["string"] = Field(description="A text of one line, without control characters.")
    default: str = Field(description="Its value where the owner chooses none.")
    max_length: int = Field(default=200, ge=0, le=2000, description="Most characters.")
    pattern: Regex | None = Field(default=None, description="Regular expression that the whole text must match.")
    secret: bool = Field(default=False, description="A password or the like: no revision or diff ever shows its value.")


class IntegerVariable(_VariablePart):
    """A whole number."""

    kind: Literal["integer"] = Field(description="A whole number.")
    default: int = Field(description="Its value where the owner chooses none.")
    minimum: int = Field(description="Least value.")
    maximum: int = Field(description="Greatest value.")


class BooleanVariable(_VariablePart):
    """Yes or no."""

    kind: Literal["boolean"] = Field(description="true or false.")
    default: bool = Field(description="Its value where the owner chooses none.")


class ChoiceVariable(_VariablePart):
    """One of a few texts."""

    kind: Literal["choice"] = Field(description="One of a few texts.")
    default: str = Field(description="Its value where the owner chooses none.")
    choices: list[NonEmpty] = Field(min_length=1, max_length=100, description="All allowed values.")


VariablePart = Annotated[
    StringVariable | IntegerVariable | BooleanVariable | ChoiceVariable, Field(discriminator="kind")
]


class FilePart(_Part):
    """A file written before every start into the configuration folder, which the game can only read."""

    format: Annotated[FileFormat, Field(strict=False)] = Field(
        description="How it is written and escaped: luanti, quake, ini, properties, json; or text, copied literally."
    )
    values: dict[FileKey, Template | bool | int] = Field(
        default_factory=dict,
        description="Key to template, number or boolean, in the file's order; not for text. A template that is one "
        "placeholder keeps its variable's type. Ini: section.key; json: dots are nested objects.",
    )
    text: str = Field(default="", max_length=50_000, description="Content of a text file. Nothing in it is replaced.")


class StartPart(_Part):
    """How the game is started."""

    programs: list[NonEmpty] = Field(
        min_length=1, description="Tried in order: absolute paths, or names looked up on PATH. No templates."
    )
    arguments: list[Template] = Field(default_factory=list, description="Templates, one per argument; no shell.")
    environment: dict[EnvironmentName, Template] = Field(
        default_factory=dict, description="Templates; nothing else is in the environment but PATH and LANG."
    )
    requires: list[Template] = Field(
        default_factory=list, description="Templates of absolute paths that must exist besides the program."
    )
    install: NonEmpty = Field(description="A sentence for the operator: how to get what is missing.")


class StopPart(_Part):
    """How the game is asked to save and quit."""

    commands: list[NonEmpty] = Field(
        default_factory=list, description="Console commands, sent in order. None: the signal."
    )
    signal: Literal["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"] = Field(
        default="SIGTERM", description="Sent where there are no commands."
    )
    grace_seconds: int = Field(default=30, ge=1, le=3600, description="After this long it is killed.")
    saved: Regex | None = Field(default=None, description="Output line that proves that the world was written.")


class ReadyPart(_Part):
    """When players can join."""

    line: Regex = Field(description="Output line that says so.")
    within_seconds: int = Field(default=120, ge=1, le=3600, description="Expected this long after the start.")


class ConsolePart(_Part):
    """The game's console."""

    accepts_commands: bool = Field(default=True, description="Whether lines on its standard input are obeyed.")
    log_file: Template | None = Field(
        default=None, description="A file below {{world}} with clean output, where the standard output is not."
    )
    announce: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="Console command that tells all players something: a template with {{text}}, for example "
        "`say {{text}}`. None: they cannot be told.",
    )


class QueryPart(_Part):
    """How the game is asked who plays."""

    protocol: Literal["luanti", "quake3", "openttd", "minecraft"] = Field(description="A protocol Overworld speaks.")
    port: Name = Field(description="Name of the port it is spoken on.")


class RosterPart(_Part):
    """Joins and leaves in the game's output."""

    joins: Regex = Field(description="Output line of a join; the group `name` is the player.")
    leaves: Regex = Field(description="Output line of a leave; the group `name` is the player.")


class WorldPart(_Part):
    """What of the world folder is not worth saving (all else is saved), and what it should lie on."""

    exclude: list[NonEmpty] = Field(default_factory=list, description="Glob patterns below the world: not saved.")
    markers: list[FileName] = Field(
        default_factory=list,
        max_length=10,
        description="Names of files: a folder that holds one of them is a world of this game. None: none is taken in.",
    )
    home: Template = Field(
        default="",
        description="The folder below {{world}} that holds them; a template that may use {{variables.NAME}}.",
    )
    storage: Annotated[Storage, Field(strict=False)] = Field(
        default=Storage.DISK,
        description="In a cluster: disk (a volume of its own), or share (a folder in a file share), which suits games "
        "that write few and large files.",
    )
    disk_mib: int | None = Field(
        default=None,
        ge=MINIMUM_DISK_MIB,
        le=MAXIMUM_DISK_MIB,
        description="In a cluster: size of its disk where the owner asks for none; none: the installation's.",
    )


class SavePart(_Part):
    """How it is made to hold still while its world is saved. A stopped game always does."""

    before: list[NonEmpty] = Field(
        default_factory=list, description="Console commands after which it writes nothing until those in `after`."
    )
    after: list[NonEmpty] = Field(default_factory=list, description="Console commands that let it write again.")
    proof: Regex | None = Field(
        default=None, description="Output line that says that everything is written, after the commands in `before`."
    )
    within_seconds: int = Field(default=30, ge=1, le=600, description="The proof is waited for this long.")
    sqlite: list[NonEmpty] = Field(
        default_factory=list, description="Glob patterns below the world of SQLite databases, copied by SQLite itself."
    )
    drill: bool = Field(default=False, description="Whether it may be started on a restored copy, to prove a save.")


class MemoryPart(_Part):
    """Memory of a server, in MiB."""

    minimum_mib: int = Field(ge=16, le=1_048_576, description="Less than this cannot work.")
    default_mib: int = Field(ge=16, le=1_048_576, description="Given where the owner chooses nothing.")


class GameFile(_Part):
    """One game of Overworld's catalogue. The file's name without `.toml` is the game's slug."""

    title: NonEmpty = Field(description="The game's name for people.")
    description: NonEmpty = Field(description="What it is, in a sentence or two.")
    connect: Template = Field(description="How a player joins: a template that may use {{host}} and {{ports.NAME}}.")
    ports: list[PortPart] = Field(min_length=1, max_length=10, description="Ports it listens on.")
    variables: dict[Name, VariablePart] = Field(default_factory=dict, description="What an owner may choose.")
    files: dict[FileName, FilePart] = Field(default_factory=dict, description="Configuration files by name.")
    start: StartPart = Field(description="How it is started.")
    stop: StopPart = Field(default_factory=StopPart, description="How it is asked to save and quit.")
    ready: ReadyPart = Field(description="How it says that players can join.")
    console: ConsolePart = Field(default_factory=ConsolePart, description="Its console.")
    query: QueryPart | None = Field(default=None, description="How it is asked who plays.")
    roster: RosterPart | None = Field(default=None, description="Joins and leaves in its output.")
    world: WorldPart = Field(
        default_factory=WorldPart, description="What of the world folder is not saved, and what it lies on."
    )
    save: SavePart = Field(default_factory=SavePart, description="How it holds still while its world is saved.")
    memory: MemoryPart = Field(description="Its memory.")
    image: Image | None = Field(
        default=None,
        description="Name of its container image, without registry and tag, where servers run in a cluster; the game's "
        "slug where it is left out. Several games may name one image.",
    )


def game_json_schema() -> dict[str, Any]:
    """The published JSON schema (draft 2020-12) of a game file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **GameFile.model_json_schema(),
        "title": "Overworld game file",
    }
