"""docs/games.md says everything that a writer of game files needs, and lists the games there are."""

from __future__ import annotations

import tomllib
from pathlib import Path

from overworld.games.catalogue import Catalogue
from overworld.games.checks import connect_names, placeholder_names
from overworld.games.schema import game_json_schema

PAGE = (Path(__file__).parents[3] / "docs" / "games.md").read_text(encoding="utf-8")


def test_every_field_is_documented() -> None:
    """By its name in backquotes."""
    schema = game_json_schema()
    fields = {name for part in (schema, *schema["$defs"].values()) for name in part.get("properties", {})}
    assert [field for field in sorted(fields) if f"`{field}`" not in PAGE] == []


def test_every_format_and_protocol_is_documented() -> None:
    """Each choice of a field is explained."""
    schema = game_json_schema()["$defs"]
    choices = [*schema["FileFormat"]["enum"], *schema["QueryPart"]["properties"]["protocol"]["enum"]]
    assert [choice for choice in choices if f"`{choice}`" not in PAGE] == []


def test_every_placeholder_is_documented() -> None:
    """Each name that a template may use."""
    game = Catalogue.load().games()[0]
    own = {"ports": "ports.NAME", "variables": "variables.NAME"}
    names = {own.get(name.split(".")[0], name) for name in placeholder_names(game) | connect_names(game)}
    assert [name for name in sorted(names) if f"`{{{{{name}}}}}`" not in PAGE] == []


def test_every_built_in_game_is_listed() -> None:
    """With its slug, its ports, and how to install it."""
    for game in Catalogue.load().games():
        ports = ", ".join(f"{port.default}/{port.protocol}" for port in game.ports)
        row = f"| `{game.slug}` | {game.title} | {ports} | {game.memory.default_mib} |"
        assert row in PAGE, f"docs/games.md lacks a row that begins with: {row}"


def test_the_example_is_a_game_file(tmp_path: Path) -> None:
    """What the page shows can be loaded as it stands."""
    example = PAGE.split("```toml\n", 1)[1].split("```", 1)[0]
    tomllib.loads(example)
    (tmp_path / "bzflag.toml").write_text(example, encoding="utf-8")
    assert Catalogue.load([tmp_path]).find("bzflag") is not None
