"""The catalogue: every game there is, from the built-in files and the operator's own. Read once, then constant."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from overworld.domain.errors import BadInput
from overworld.domain.games import Game
from overworld.games.checks import find_faults
from overworld.games.convert import to_game
from overworld.games.schema import SLUG, GameFile

BUILT_IN = Path(__file__).parent / "data"


class Catalogue:
    """Games by slug. Immutable, so that it may be shared between threads."""

    def __init__(self, games: Sequence[Game]) -> None:
        self._games = {game.slug: game for game in sorted(games, key=lambda game: game.slug)}

    @classmethod
    def load(cls, folders: Sequence[Path] = ()) -> Catalogue:
        """The built-in games and those of ``folders`` (``*.toml``); of two with one slug the last folder's wins.

        Raises BadInput for the first file that is wrong, naming file, place and what would be right; ``errors`` in
        extra has every fault of that file. A game that loads can be rendered for every valid set of variables.
        """
        games = {path.stem: load_game(path) for folder in (BUILT_IN, *folders) for path in _game_files(folder)}
        return cls(tuple(games.values()))

    def find(self, slug: str) -> Game | None:
        """The game, or None."""
        return self._games.get(slug)

    def games(self) -> tuple[Game, ...]:
        """All games, by slug."""
        return tuple(self._games.values())


def load_game(path: Path) -> Game:
    """The game of one file, checked throughout. Raises BadInput as ``Catalogue.load`` does."""
    if re.match(SLUG, path.stem) is None:
        raise _refused(path, [("its name", "must be small letters, digits and dashes, and .toml: my-game.toml.")])
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _refused(path, [("the file", f"is not TOML: {error}")]) from error
    except OSError as error:
        raise _refused(path, [("the file", f"cannot be read: {error.strerror}")]) from error
    try:
        game = to_game(path.stem, GameFile.model_validate(content))
    except ValidationError as error:
        raise _refused(path, list(_faults_of_shape(error))) from error
    if faults := list(find_faults(game)):
        raise _refused(path, faults)
    return game


def _game_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise _refused(folder, [("the folder", "is not there; OVERWORLD_CATALOGUE_FOLDERS names it.")])
    return sorted(folder.glob("*.toml"))


def _faults_of_shape(error: ValidationError) -> Iterator[tuple[str, str]]:
    for fault in error.errors():
        at = ".".join(str(step) for step in fault["loc"])
        says = "is not a field of game files (docs/games.md has them all)"
        yield at, f"{says if fault['type'] == 'extra_forbidden' else fault['msg']}."


def _refused(path: Path, faults: Sequence[tuple[str, str]]) -> BadInput:
    at, says = faults[0]
    return BadInput(f"{path}: {at}: {says}", errors=[{"at": at, "says": says} for at, says in faults])
