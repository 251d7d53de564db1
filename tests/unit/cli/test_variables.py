"""``--set`` by the kinds of a game's variables."""

from __future__ import annotations

import pytest

from overworld.cli.errors import BadUsage
from overworld.cli.variables import read_settings, show_bounds
from unit.cli.stage import GAME


def test_values_get_the_kinds_of_their_variables() -> None:
    """Text stays text (an equals sign too), the others become what the game declares."""
    assert read_settings(GAME, ["motd=a=b", "players=20", "pvp=no", "mapgen=flat"]) == {
        "motd": "a=b",
        "players": 20,
        "pvp": False,
        "mapgen": "flat",
    }


@pytest.mark.parametrize(
    ("setting", "at", "says"),
    [
        ("players=many", "players", "whole number"),
        ("pvp=perhaps", "pvp", "true or false"),
        ("mapgen=round", "mapgen", "v7 | flat"),
        ("player=3", "player", "did you mean players?"),
        ("motd", "motd", "name=value"),
        ("__class__=1", "__class__", "no such variable"),
    ],
)
def test_mistakes_say_what_would_be_right(setting: str, at: str, says: str) -> None:
    """Each mistake names its variable and what would do."""
    with pytest.raises(BadUsage) as caught:
        read_settings(GAME, [setting])
    assert caught.value.errors[0][0] == at
    assert says in caught.value.errors[0][1]


def test_all_mistakes_come_at_once() -> None:
    """Two wrong settings and one set twice are three lines."""
    with pytest.raises(BadUsage) as caught:
        read_settings(GAME, ["players=x", "pvp=x", "motd=a", "motd=b"])
    assert [at for at, _ in caught.value.errors] == ["players", "pvp", "motd"]


def test_bounds_are_shown_for_every_kind() -> None:
    """A person can see what a variable takes."""
    assert [show_bounds(variable) for variable in GAME["variables"]] == [
        "text, at most 100 characters",
        "integer 1..100",
        "true | false",
        "v7 | flat",
    ]
