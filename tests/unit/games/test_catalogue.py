"""A wrong game file is refused when it is loaded, with file, place and what would be right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from overworld.domain.errors import BadInput
from overworld.games.catalogue import Catalogue
from overworld.games.convert import to_game
from overworld.games.schema import GameFile

GOOD = """
title = "Tiny"
description = "A tiny game."
connect = "{{host}}:{{ports.game}}"
ports = [{ name = "game", protocol = "udp", default = 1234 }]
[variables.word]
kind = "string"
description = "A word."
default = "hello"
max_length = 10
[variables.size]
kind = "integer"
description = "A size."
default = 3
minimum = 1
maximum = 9
[files."a.json"]
format = "json"
values = { word = "{{variables.word}}", "nested.size" = "{{variables.size}}" }
[start]
programs = ["tiny"]
arguments = ["--word={{variables.word}}", "{{world}}", "{{variables.size}}"]
install = "Install tiny."
[stop]
saved = "^saved$"
[ready]
line = "^ready$"
[roster]
joins = "^(?P<name>.*) joins$"
leaves = "^(?P<name>.*) leaves$"
[query]
protocol = "quake3"
port = "game"
[memory]
minimum_mib = 16
default_mib = 32
"""


def load(folder: Path, text: str, name: str = "tiny.toml") -> Catalogue:
    """The built-in catalogue with that file."""
    (folder / name).write_text(text, encoding="utf-8")
    return Catalogue.load([folder])


def refusal(folder: Path, text: str, name: str = "tiny.toml") -> BadInput:
    """What loading that file says."""
    with pytest.raises(BadInput) as caught:
        load(folder, text, name)
    assert str(folder / name) in caught.value.detail
    return caught.value


def test_the_built_in_games() -> None:
    """Four of different kinds, in order."""
    assert [game.slug for game in Catalogue.load().games()] == ["luanti", "minecraft", "openarena", "openttd"]


def test_an_operators_game_is_added_and_the_last_folder_wins(tmp_path: Path) -> None:
    """Own folders add games, and replace those of the same name."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    load(first, GOOD)
    load(second, GOOD.replace('"Tiny"', '"Tinier"'))
    (second / "luanti.toml").write_text(GOOD, encoding="utf-8")
    catalogue = Catalogue.load([first, second])

    assert [game.title for game in map(catalogue.find, ["tiny", "luanti"]) if game] == ["Tinier", "Tiny"]
    assert catalogue.find("absent") is None


def test_the_revision_changes_with_the_content_alone(tmp_path: Path) -> None:
    """A comment is no change; a value is."""

    def revision(text: str) -> str:
        game = load(tmp_path, text).find("tiny")
        assert game is not None
        return game.revision

    assert revision(GOOD) == revision("# a comment\n" + GOOD)
    assert revision(GOOD) != revision(GOOD.replace('"hello"', '"goodbye"'))


def test_a_key_that_a_later_version_knows_changes_no_revision(tmp_path: Path) -> None:
    """Or an upgrade would ask for a restart of every server."""

    class LaterFile(GameFile):
        younger: str = "by default"

    content = tomllib.loads(GOOD)
    assert to_game("tiny", LaterFile.model_validate(content)) == to_game("tiny", GameFile.model_validate(content))


def test_two_games_can_share_an_image(tmp_path: Path) -> None:
    """A game's image is called as the game, or as its file says."""
    load(tmp_path, GOOD)
    catalogue = load(tmp_path, 'image = "library/tiny"\n' + GOOD, "tiny-hard.toml")
    tiny, hard = catalogue.find("tiny"), catalogue.find("tiny-hard")
    assert tiny is not None
    assert hard is not None
    assert (tiny.image, hard.image) == ("tiny", "library/tiny")
    assert hard.revision != tiny.revision


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ('title = "Tiny"', "", "title", "Field required"),
        ("[stop]", "[stop]\nkill = true", "stop.kill", "is not a field of game files"),
        ('"udp"', '"icmp"', "ports.0.protocol", "'udp' or 'tcp'"),
        ("default = 1234", "default = 0", "ports.0.default", "greater than or equal to 1"),
        ("default = 1234", 'default = "1234"', "ports.0.default", "valid integer"),
        ('default = "hello"', 'default = "hello hello"', "variables.word.default", "at most 10 characters"),
        ('default = "hello"', 'default = "a\\nb"', "variables.word.default", "U+000A"),
        ("default = 3", "default = 10", "variables.size.default", "between 1 and 9"),
        ("max_length = 10", 'max_length = 10\npattern = "("', "variables.word.pattern", "not a regular expression"),
        ('"{{world}}"', '"{{secret}}"', "start.arguments.1", "{{secret}} is not known here"),
        ('"{{world}}"', '"{{ world }}"', "start.arguments.1", "is not a placeholder"),
        ('"{{world}}"', '"{{host}}"', "start.arguments.1", "{{host}} is not known here"),
        ('"--word={{variables.word}}"', '"{{variables.word}}"', "start.arguments.0", "which could make it an option"),
        ('"--word={{variables.word}}"', '"{{server.name}}"', "start.arguments.0", "which could make it an option"),
        ("minimum = 1\n", "minimum = -1\n", "start.arguments.2", "which could make it an option"),
        ('"{{host}}:{{ports.game}}"', '"{{variables.word}}"', "connect", "{{variables.word}} is not known here"),
        ('word = "{{variables.word}}"', 'word = "{{x}}"', 'files."a.json".values."word"', "not known here"),
        ('word = "{{var', 'nested = "{{var', 'files."a.json".values."nested.size"', "nested is a value already"),
        ('format = "json"', 'format = "ini"', 'files."a.json".values."word"', "section.key"),
        ('format = "json"', 'format = "text"', 'files."a.json".values', "copied literally"),
        ('format = "json"', 'format = "json"\ntext = "x"', 'files."a.json".text', "only a text file has text"),
        ('[files."a.json"]', '[files."../a.json"]', "files.../a.json.[key]", "should match pattern"),
        ('"^ready$"', '"("', "ready.line", "not a regular expression"),
        ('"^(?P<name>.*) joins$"', '"^(.*) joins$"', "roster.joins", "(?P<name>…)"),
        ('port = "game"', 'port = "query"', "query.port", "there is no port query; there are game"),
        ("[stop]", '[world]\nmarkers = ["w"]\nhome = "../w"\n[stop]', "world.home", "below the world"),
        ("[stop]", '[world]\nmarkers = ["w"]\nhome = "{{variables.word}}"\n[stop]', "world.home", "free text"),
        ("[stop]", '[world]\nmarkers = ["w"]\nhome = "{{world}}"\n[stop]', "world.home", "not known here"),
        ("[stop]", '[world]\nmarkers = ["a/b"]\n[stop]', "world.markers.0", "should match pattern"),
        ("[stop]", '[world]\nhome = "w"\n[stop]', "world.home", "belongs to the markers"),
        ("[stop]", '[console]\naccepts_commands = false\n[stop]\ncommands = ["quit"]', "stop.commands", "a signal"),
        ("[stop]", '[console]\nlog_file = "/etc/passwd"\n[stop]', "console.log_file", "{{world}}/NAME"),
        ("[stop]", '[console]\nlog_file = "{{world}}/../x"\n[stop]', "console.log_file", "{{world}}/NAME"),
        ("[stop]", '[console]\nannounce = "say"\n[stop]', "console.announce", "needs {{text}} exactly once"),
        ("[stop]", '[console]\nannounce = "say {{text}} {{world}}"\n[stop]', "console.announce", "no other"),
        ("[stop]", '[console]\nannounce = "{{text}}"\n[stop]', "console.announce", "begin with the command"),
        ("[stop]", '[console]\nannounce = "say {{text}"\n[stop]', "console.announce", "is not a placeholder"),
        ("[stop]", '[console]\nannounce = "say {{text}}\\nquit"\n[stop]', "console.announce", "U+000A"),
        (
            "[stop]",
            '[console]\naccepts_commands = false\nannounce = "say {{text}}"\n[stop]',
            "console.announce",
            "accepts no commands",
        ),
        ("[stop]", '[stop]\nsignal = "SIGKILL"', "stop.signal", "'SIGTERM'"),
        ('install = "', 'requires = ["x/y"]\ninstall = "', "start.requires.0", "must be absolute"),
        ("default_mib = 32", "default_mib = 15", "memory.default_mib", "greater than or equal to 16"),
        ("minimum_mib = 16", "minimum_mib = 64", "memory.default_mib", "must be at least minimum_mib, which is 64"),
        ("ports = [", 'ports = [{ name = "game", protocol = "tcp", default = 1 }, ', "ports.1.name", "its own name"),
        ('kind = "string"', 'kind = "text"', "variables.word", "'text'"),
        ('title = "Tiny"', 'title = "Tiny"\nimage = "tiny:1"', "image", "should match pattern"),
        ('title = "Tiny"', 'title = "Tiny"\nimage = "keeper"', "image", "an image of Overworld's own"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, old: str, new: str, at: str, says: str) -> None:
    """Each with a sentence on what would be right."""
    assert old in GOOD
    error = refusal(tmp_path, GOOD.replace(old, new, 1))
    errors = error.extra["errors"]
    assert isinstance(errors, list)
    matching = [fault for fault in errors if fault["at"] == at]
    assert matching, errors
    assert says in matching[0]["says"]


def test_what_is_not_toml_is_named_with_line_and_column(tmp_path: Path) -> None:
    """The parser's own words say where."""
    assert re.search(r"is not TOML: .*line 1, column", refusal(tmp_path, "title = ?").detail)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """As broken TOML is."""
    (tmp_path / "tiny.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="is not TOML"):
        Catalogue.load([tmp_path])


@pytest.mark.parametrize("name", ["Tiny.toml", "ti ny.toml", "9tiny.toml", f"{'x' * 33}.toml"])
def test_a_file_name_is_the_slug(tmp_path: Path, name: str) -> None:
    """And so it must be one."""
    assert "my-game.toml" in refusal(tmp_path, GOOD, name).detail


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A mistyped setting does not quietly lose games."""
    with pytest.raises(BadInput, match="OVERWORLD_CATALOGUE_FOLDERS"):
        Catalogue.load([tmp_path / "absent"])
