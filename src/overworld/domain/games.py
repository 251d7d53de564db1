"""A game: one entry of the catalogue, as data. Nothing here reads files or renders templates (see overworld.games)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from overworld.domain.worlds import Storage


class Protocol(StrEnum):
    """Transport of a port."""

    UDP = "udp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class Port:
    """A port the game listens on. ``default`` is the game's own number, used where a server has its own IP."""

    name: str
    protocol: Protocol
    default: int


class VariableKind(StrEnum):
    """Type of a variable's value."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CHOICE = "choice"


Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting that an owner may choose, with its bounds.

    ``minimum``/``maximum`` bound an integer; ``max_length`` (characters) and ``pattern`` (a full-match regular
    expression) bound a string; ``choices`` are the only values of a choice. What ``is_secret`` is shown in no diff.
    """

    name: str
    kind: VariableKind
    description: str
    default: Value
    minimum: int | None = None
    maximum: int | None = None
    max_length: int = 200
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    is_secret: bool = False


class FileFormat(StrEnum):
    """How a configuration file is written, so that no value can end its line, its quotes or its document."""

    LUANTI = "luanti"  # key = value
    QUAKE = "quake"  # seta key "value"
    INI = "ini"  # [section] and key = value; keys are "section.key"
    PROPERTIES = "properties"  # Java .properties
    JSON = "json"
    TEXT = "text"  # literal text of the catalogue, nothing substituted


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file written before every start into the server's configuration folder, which the game can only read.

    ``values`` maps a key to a template, or to a literal number or boolean; ``text`` is the literal content of a TEXT
    file.
    """

    name: str
    format: FileFormat
    values: Mapping[str, Value] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """How the game is started. ``programs`` are tried in order on a machine (absolute, or found on PATH);
    ``arguments``, ``environment`` and ``requires`` (paths that must exist besides the program) are templates;
    ``install`` tells an operator how to get the program."""

    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    install: str = ""
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """How the game is asked to save and quit: a console command, else a signal. ``command`` may hold several lines,
    separated by a line feed, sent in order. ``saved`` is the regular expression of the output line that proves that
    the world was written; after ``grace`` the game is killed."""

    command: str | None = None
    signal: str = "SIGTERM"
    grace: timedelta = timedelta(seconds=30)
    saved: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """``line``: regular expression of the output line that says players can join; expected within ``within``."""

    line: str
    within: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Console:
    """``accepts_commands``: lines on standard input are obeyed. ``log_file``: a path inside the world (template)
    that holds the clean output of a game whose standard output is not. ``announce``: the command (template, with
    ``{{text}}``) that tells all players something."""

    accepts_commands: bool = True
    log_file: str | None = None
    announce: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Which protocol of overworld.games.query asks this game who plays, and on which of its ports."""

    protocol: str
    port: str


@dataclass(frozen=True, slots=True)
class Roster:
    """Regular expressions of the output lines that tell a join and a leave; the group ``name`` is the player."""

    joins: str
    leaves: str


@dataclass(frozen=True, slots=True)
class WorldLayout:
    """``exclude``: what of the world folder is not worth saving, as glob patterns relative to it; all else is saved.
    ``markers`` are names of files by which a world that somebody brings is known; ``home`` (template) is the folder
    below the world folder in which the game looks for them. ``storage`` is what the world should lie on, ``disk_mib``
    (None: as the installation has it) the size of its disk where nobody asks for one."""

    exclude: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    home: str = ""
    storage: Storage = Storage.DISK
    disk_mib: int | None = None


@dataclass(frozen=True, slots=True)
class Saving:
    """How a running game is made to hold still while its world is saved.

    ``before`` are console commands after which the game writes nothing until those in ``after``; ``proof`` is the
    regular expression of the output line that says that everything is written, expected within ``within``. ``sqlite``
    are glob patterns, relative to the world, of databases that are copied through SQLite itself. ``drill``: the game
    may be started on a restored copy, to prove it.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    proof: str | None = None
    within: timedelta = timedelta(seconds=30)
    sqlite: tuple[str, ...] = ()
    drill: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """Bounds of a server's memory in MiB."""

    minimum_mib: int
    default_mib: int


@dataclass(frozen=True, slots=True)
class Game:
    """A catalogue entry. ``revision`` is a hash of its content: a changed entry is a changed spec."""

    slug: str
    title: str
    description: str
    revision: str
    ports: tuple[Port, ...]
    variables: tuple[Variable, ...]
    files: tuple[ConfigFile, ...]
    start: Start
    stop: Stop
    ready: Ready
    console: Console
    query: Query | None
    roster: Roster | None
    world: WorldLayout
    memory: Memory
    connect: str  # template for people: "In Luanti: Join Game, address {{host}}, port {{ports.game}}"
    image: str  # name of its container image, without registry and tag
    saving: Saving = Saving()

    def variable(self, name: str) -> Variable | None:
        """The variable of that name, or None."""
        return next((variable for variable in self.variables if variable.name == name), None)
