"""An owner's choices against what the game allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.errors import BadInput
from overworld.games.catalogue import Catalogue
from overworld.games.text import find_odd_character, one_line
from overworld.games.variables import check_variables

CATALOGUE = Catalogue.load()


def says_of(slug: str, **given: object) -> list[dict[str, str]]:
    """The errors of that choice."""
    game = CATALOGUE.find(slug)
    assert game is not None
    with pytest.raises(BadInput) as caught:
        check_variables(game, given)
    errors = caught.value.extra["errors"]
    assert isinstance(errors, list)
    return errors


def test_what_is_not_given_has_its_default() -> None:
    """The answer is always the full set."""
    for game in CATALOGUE.games():
        checked = check_variables(game, {})
        assert checked == {variable.name: variable.default for variable in game.variables}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("max_players", "7", "must be a whole number."),
        ("max_players", True, "must be a whole number."),
        ("max_players", 7.0, "must be a whole number."),
        ("max_players", 0, "must be between 1 and 200."),
        ("max_players", 10**30, "must be between 1 and 200."),
        ("creative", 1, "must be true or false."),
        ("creative", "true", "must be true or false."),
        ("terrain", "moon", "must be one of v7, valleys, carpathian, v5, flat, fractal, v6."),
        ("terrain", ["v7"], "must be one of v7, valleys, carpathian, v5, flat, fractal, v6."),
        ("motd", None, "must be a text."),
        ("motd", "x" * 201, "must be at most 200 characters long; this has 201."),
        ("motd", "a\nname = evil", "must be one line without control characters; it holds U+000A."),
        ("motd", "a\0", "must be one line without control characters; it holds U+0000."),
        ("motd", "\u202egnp.exe", "must be one line without control characters; it holds U+202E."),
        ("motd", "\ud800", "must be one line without control characters; it holds U+D800."),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(name: str, value: object, says: str) -> None:
    """Nothing is coerced, and the pointer leads to the value."""
    assert says_of("luanti", **{name: value}) == [{"at": f"/variables/{name}", "says": says}]


def test_every_wrong_value_is_named_at_once() -> None:
    """One answer holds all complaints, unknown names included; the pointer is escaped as RFC 6901 says."""
    errors = says_of("luanti", **{"a/b~": 1, "creative": "yes", "damage": 3})
    assert [error["at"] for error in errors] == ["/variables/a~1b~0", "/variables/creative", "/variables/damage"]
    assert "motd" in errors[0]["says"]


def test_a_pattern_is_of_the_whole_text() -> None:
    """A text that only begins or ends well is refused."""
    assert says_of("luanti", admin="me$(reboot)")[0]["at"] == "/variables/admin"
    assert says_of("luanti", admin="me\n")[0]["at"] == "/variables/admin"


@given(st.text())
def test_one_line_leaves_nothing_odd(text: str) -> None:
    """It keeps the length, and has nothing left to complain about."""
    line = one_line(text)
    assert len(line) == len(text)
    assert find_odd_character(line) is None
    line.encode()


@pytest.mark.parametrize("text", ["Grüße, Welt", "👩‍🚀 ready", "日本語", "عربى", "{{world}} $HOME `x` %s"])
def test_what_people_write_is_kept(text: str) -> None:
    """Scripts, emoji and anything that only looks dangerous are ordinary text."""
    assert one_line(text) == text
