"""The scripted games that tests run."""

from __future__ import annotations

from games.parts import CATALOGUE, catalogue_files
from overworld.games.catalogue import Catalogue


def test_the_catalogue_of_scripted_games_is_up_to_date() -> None:
    """If not: python tests/games/parts.py (with tests and src on PYTHONPATH) writes it anew."""
    assert {path.name: path.read_text() for path in CATALOGUE.glob("*.toml")} == catalogue_files()
    assert Catalogue.load([CATALOGUE]).find("journal") is not None
