"""The published schema is the one that game files are checked by."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from overworld.games.catalogue import BUILT_IN
from overworld.games.schema import game_json_schema

PUBLISHED = Path(__file__).parents[3] / "docs" / "schema" / "game.schema.json"


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of every part."""
    for part in (schema, *schema["$defs"].values()):
        for name, field in part.get("properties", {}).items():
            yield f"{part.get('title')}.{name}", field


def test_the_published_schema_is_current() -> None:
    """docs/schema/game.schema.json says what the code checks; OVERWORLD_GOLDEN=1 writes it anew."""
    current = json.dumps(game_json_schema(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("OVERWORLD_GOLDEN"):
        PUBLISHED.write_text(current, encoding="utf-8")
    assert PUBLISHED.read_text(encoding="utf-8") == current


def test_every_field_is_described() -> None:
    """An editor with the schema can explain each field."""
    undescribed = [name for name, field in properties(game_json_schema()) if not field.get("description")]
    assert undescribed == []


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.toml")), ids=lambda path: path.stem)
def test_built_in_files_follow_the_published_schema(path: Path) -> None:
    """By a reader that knows nothing of Overworld."""
    validator = jsonschema_rs.Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    validator.validate(tomllib.loads(path.read_text(encoding="utf-8")))
