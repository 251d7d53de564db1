"""A game rendered for one server: no template is left, and no value does more than stand where it belongs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.errors import BadInput
from overworld.domain.games import Game, Value, Variable, VariableKind
from overworld.domain.observed import Launch, Layout
from overworld.domain.servers import Desired, Endpoint, Server
from overworld.games.catalogue import Catalogue
from overworld.games.launch import render_announcement, render_connect, render_home, render_launch
from overworld.games.variables import check_variables, find_fault

CATALOGUE = Catalogue.load()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAYOUT = Layout(world="/data/world", config="/data/config")


def game_of(slug: str) -> Game:
    """A built-in game."""
    game = CATALOGUE.find(slug)
    assert game is not None
    return game


def endpoints_of(game: Game, host: str = "play.example") -> tuple[Endpoint, ...]:
    """One endpoint for each of its ports."""
    return tuple(Endpoint(port.name, port.protocol, host, 31000 + index) for index, port in enumerate(game.ports))


def render(
    game: Game,
    *,
    name: str = "My server",
    variables: dict[str, Value] | None = None,
    endpoints: tuple[Endpoint, ...] | None = None,
) -> Launch:
    """The game rendered for a server of that name."""
    server = Server(
        id="bcdfgh234567",
        number=1,
        account_id="a",
        name=name,
        game=game.slug,
        generation=1,
        desired=Desired.RUNNING,
        desired_generation=1,
        restarts=0,
        variables=variables or {},
        memory_mib=512,
        world_generation=1,
        retired_worlds=(),
        created_at=NOW,
        updated_at=NOW,
    )
    return render_launch(game, server, LAYOUT, endpoints or endpoints_of(game), programs_folder=Path("/opt/games"))


def values_of(variable: Variable) -> st.SearchStrategy[Value]:
    """Any value that the game allows."""
    match variable.kind:
        case VariableKind.BOOLEAN:
            return st.booleans()
        case VariableKind.INTEGER:
            return st.integers(variable.minimum, variable.maximum)
        case VariableKind.CHOICE:
            return st.sampled_from(variable.choices)
        case VariableKind.STRING if variable.pattern:
            return st.from_regex(variable.pattern, fullmatch=True).filter(lambda text: not find_fault(variable, text))
        case VariableKind.STRING:
            return st.text(max_size=variable.max_length).filter(lambda text: find_fault(variable, text) is None)


@pytest.mark.parametrize("slug", [game.slug for game in CATALOGUE.games()])
@given(data=st.data(), name=st.text(max_size=60))
def test_every_allowed_choice_can_be_rendered(slug: str, data: st.DataObject, name: str) -> None:
    """And files are text that can be written, argument lists hold no NUL, and equal input gives an equal launch."""
    game = game_of(slug)
    variables = {variable.name: data.draw(values_of(variable)) for variable in game.variables}
    assert check_variables(game, variables) == variables
    launch = render(game, name=name, variables=variables)

    assert launch == render(game, name=name, variables=variables)
    assert all("\0" not in argument and "\n" not in argument for argument in launch.arguments)
    assert len(launch.arguments) == len(game.start.arguments)
    for template, argument in zip(game.start.arguments, launch.arguments, strict=True):
        assert argument[:1] == template[:1] or template.startswith("{{")
    for content in (*launch.files.values(), *launch.arguments, *launch.environment.values()):
        content.encode()


def test_luanti_is_rendered() -> None:
    """World, configuration, port and environment are where the game looks for them."""
    launch = render(game_of("luanti"), variables={"motd": "Hello {{server.id}}", "creative": True})
    assert launch.arguments == (
        *("--terminal", "--world", "/data/world/world", "--gameid", "minetest_game"),
        *("--config", "/data/config/luanti.conf", "--logfile", "/data/world/luanti.log", "--port", "31000"),
    )
    assert launch.environment == {"HOME": "/data/world", "TERM": "xterm"}
    assert launch.log_file == "/data/world/luanti.log"
    lines = launch.files["luanti.conf"].splitlines()
    assert "motd = Hello {{server.id}}" in lines
    assert "creative_mode = true" in lines
    assert "server_name = My server" in lines
    assert "server_announce = false" in lines


def test_the_image_is_the_games() -> None:
    """Or another's, where the game's file names one."""
    luanti = game_of("luanti")
    assert render(luanti).image == "luanti"
    assert render(replace(luanti, image="games/voxels")).image == "games/voxels"


def test_a_hostile_name_stays_one_value() -> None:
    """A server's name cannot end its line in any game's files."""
    for game in CATALOGUE.games():
        calm = render(game, name="x")
        wild = render(game, name='x\r\nname = evil\u2028"; quit\0')
        assert wild.arguments == calm.arguments
        for name, content in wild.files.items():
            assert len(content.splitlines()) == len(calm.files[name].splitlines())


def test_a_json_value_keeps_its_type() -> None:
    """One placeholder alone is its variable's own value, not its text."""
    launch = render(game_of("minecraft"), variables={"max_players": 7, "creative": False})
    settings = json.loads(launch.files["settings.json"])
    assert (settings["port"], settings["max_players"], settings["creative"]) == (31000, 7, False)
    assert settings["motd"] == "Welcome!"


def test_a_text_file_is_literal() -> None:
    """Nothing in it is replaced."""
    game = game_of("minecraft")
    source = next(file.text for file in game.files if file.name == "launch.js")
    assert render(game).files["launch.js"] == source


def test_requirements_and_programs_folder() -> None:
    """npm packages are looked for in the operator's folder, or where a global install puts them."""
    game = game_of("minecraft")
    assert render(game).requires == ("/opt/games/node_modules/flying-squid/package.json",)
    assert render(game).environment["NODE_PATH"] == "/opt/games/node_modules"


def test_stored_variables_of_an_older_file_are_completed_or_refused() -> None:
    """What the file no longer knows is left out, what is new has its default, what it forbids now is an error."""
    game = game_of("luanti")
    assert render(game, variables={"gone": "x"}) == render(game)
    with pytest.raises(BadInput, match="/variables/max_players: must be between 1 and 200"):
        render(game, variables={"max_players": 1000})


def test_a_missing_endpoint_is_an_error() -> None:
    """Instead of a game on a port of its own choice; people are told nothing yet."""
    game = game_of("luanti")
    two_ports = replace(game, ports=(*game.ports, replace(game.ports[0], name="voice")))
    with pytest.raises(BadInput, match="needs an endpoint for its port voice"):
        render(two_ports, endpoints=endpoints_of(game))
    assert render_connect(two_ports, endpoints_of(game)) == ""


def test_connect_tells_how_to_join() -> None:
    """For people, with host and port."""
    game = game_of("luanti")
    assert render_connect(game, endpoints_of(game)) == "In Luanti: Join Game, address play.example, port 31000."
    assert render_connect(game, ()) == ""


@given(st.text(), st.sampled_from(["luanti", "minecraft", "openarena", "openttd"]))
def test_what_players_are_told_is_words_to_every_console(text: str, slug: str) -> None:
    """No line end, quote, separator or slash of the text reaches the console, and none begins a command."""
    game = game_of(slug)
    command = render_announcement(game, text)
    before, _, after = str(game.console.announce).partition("{{text}}")
    assert command is not None
    assert command.startswith(before)
    words = command.removeprefix(before).removesuffix(after)
    assert all(character.isalnum() or character in " .,:-" for character in words)
    assert not words.startswith(("-", " "))


def test_a_game_without_a_command_for_it_tells_nobody() -> None:
    """There is nothing to send."""
    game = game_of("luanti")
    assert render_announcement(replace(game, console=replace(game.console, announce=None)), "hello") is None


@pytest.mark.parametrize(
    ("slug", "home"),
    [("luanti", "world"), ("minecraft", "world/1.12.2"), ("openttd", "openttd/save"), ("openarena", "")],
)
def test_a_world_that_is_brought_has_its_place(slug: str, home: str) -> None:
    """Where the game looks for its world, with the server's own variables."""
    assert render_home(game_of(slug), {"version": "1.12.2"}) == home
