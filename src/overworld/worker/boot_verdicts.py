"""What it says of a save how a game did on the restored copy, wherever that was started."""

from __future__ import annotations

from overworld.domain.errors import RepositoryDamaged
from overworld.domain.exits import Exit
from overworld.domain.games import Game

ANSWER_SECONDS = 10.0
TRIES = 3
"""At the handshake."""


def does_not_start(game: Game, end: Exit) -> RepositoryDamaged:
    """It ended before players could join."""
    silent = "it ran out of memory" if end.out_of_memory else "it said nothing"
    return RepositoryDamaged(
        f"{game.title} does not start on the restored world: {end.lines[-1] if end.lines else silent}"
    )


def was_not_ready(game: Game) -> RepositoryDamaged:
    """It runs, and players cannot join."""
    return RepositoryDamaged(f"{game.title} was not ready on the restored world in time.")


def does_not_answer(says: str) -> RepositoryDamaged:
    """Players could join, it says, and it answers nobody."""
    return RepositoryDamaged(f"On the restored world {says}")
