"""A game rendered for one server: after this nothing is a template any more. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from overworld.domain.errors import BadInput
from overworld.domain.games import ConfigFile, FileFormat, Game, Value
from overworld.domain.observed import Launch, Layout
from overworld.domain.servers import Endpoint, Server
from overworld.games.templates import sole_placeholder, substitute
from overworld.games.text import one_line
from overworld.games.variables import check_variables
from overworld.games.writers import as_text, write_file

DEFAULT_PROGRAMS_FOLDER = Path("/usr/local/lib")
"""Where ``npm install --global`` puts node_modules."""


def render_launch(
    game: Game,
    server: Server,
    layout: Layout,
    endpoints: tuple[Endpoint, ...],
    *,
    programs_folder: Path | None = None,
) -> Launch:
    """What to execute for that server, and what to watch for. Equal arguments, equal launches.

    The server's name loses its control characters; values are copied once and never read again. Raises BadInput if
    the stored variables no longer fit the game (its file changed since) or one of its ports has no endpoint.
    """
    values = _values(game, server, layout, endpoints, programs_folder or DEFAULT_PROGRAMS_FOLDER)
    texts = {name: as_text(value) for name, value in values.items()}
    start = game.start
    return Launch(
        programs=start.programs,
        arguments=tuple(substitute(argument, texts) for argument in start.arguments),
        environment={name: substitute(value, texts) for name, value in start.environment.items()},
        files={file.name: _render_file(file, values, texts) for file in game.files},
        stop=game.stop,
        ready=game.ready,
        roster=game.roster,
        accepts_commands=game.console.accepts_commands,
        log_file=None if game.console.log_file is None else substitute(game.console.log_file, texts),
        install=start.install,
        requires=tuple(substitute(path, texts) for path in start.requires),
        image=game.image,
    )


def render_connect(game: Game, endpoints: tuple[Endpoint, ...]) -> str:
    """How a player joins, for people; empty while an endpoint is missing."""
    by_name = {endpoint.name: endpoint for endpoint in endpoints}
    if any(port.name not in by_name for port in game.ports):
        return ""
    texts = {f"ports.{endpoint.name}": str(endpoint.port) for endpoint in endpoints}
    return substitute(game.connect, {**texts, "host": by_name[game.ports[0].name].host})


def render_announcement(game: Game, text: str) -> str | None:
    """The console command that tells the players something; None where the game has none.

    Of the text only letters, digits, spaces and ``.,:-`` are kept: no game's console reads more than words into it.
    """
    if game.console.announce is None:
        return None
    words = "".join(one if one.isalnum() or one in " .,:-" else " " for one in one_line(text)).lstrip(" .,:-")
    return substitute(game.console.announce, {"text": words})


def render_home(game: Game, variables: Mapping[str, Value]) -> str:
    """The folder below the server's world folder in which its game looks for its world; empty: that folder itself.
    Raises BadInput if the stored variables no longer fit the game."""
    return substitute(game.world.home, {name: as_text(value) for name, value in _variables(game, variables).items()})


def _variables(game: Game, stored: Mapping[str, Value]) -> dict[str, Value]:
    known = {variable.name for variable in game.variables}
    values = check_variables(game, {name: value for name, value in stored.items() if name in known})
    return {f"variables.{name}": value for name, value in values.items()}


def _values(
    game: Game, server: Server, layout: Layout, endpoints: tuple[Endpoint, ...], programs_folder: Path
) -> dict[str, Value]:
    ports = {endpoint.name: endpoint.port for endpoint in endpoints}
    missing = [port.name for port in game.ports if port.name not in ports]
    if missing:
        raise BadInput(f"{game.title} needs an endpoint for its port {missing[0]}, and the server has none.")
    return {
        "world": layout.world,
        "config": layout.config,
        "programs": str(programs_folder),
        "memory_mib": server.memory_mib,
        "server.id": server.id,
        "server.name": one_line(server.name),
        **{f"ports.{port.name}": ports[port.name] for port in game.ports},
        **_variables(game, server.variables),
    }


def _render_file(file: ConfigFile, values: dict[str, Value], texts: dict[str, str]) -> str:
    if file.format is FileFormat.TEXT:
        return file.text
    return write_file(file.format, {key: _render(entry, values, texts) for key, entry in file.values.items()})


def _render(entry: Value, values: dict[str, Value], texts: dict[str, str]) -> Value:
    """A literal as it is; one placeholder alone with its value's own type; everything else as text."""
    if not isinstance(entry, str):
        return entry
    name = sole_placeholder(entry)
    return values[name] if name is not None else substitute(entry, texts)
