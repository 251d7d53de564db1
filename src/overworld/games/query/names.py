"""Numbers and names out of an answer that nobody vouches for."""

from __future__ import annotations

from collections.abc import Iterable

from overworld.games.query.failure import QueryFailed
from overworld.games.text import one_line

MAX_PLAYERS = 10_000
MAX_NAMES = 256
MAX_NAME_LENGTH = 64


def count(value: object) -> int:
    """A number of players. Raises QueryFailed for what cannot be one."""
    try:
        number = int(value) if isinstance(value, int | str) else -1
    except ValueError:
        number = -1
    if not 0 <= number <= MAX_PLAYERS:
        raise QueryFailed(f"The game answered {str(value)[:40]!r} where a number of players belongs.")
    return number


def clean_names(names: Iterable[str]) -> tuple[str, ...]:
    """At most 256 names of one line and 64 characters each; empty ones left out."""
    cleaned = (one_line(name).strip()[:MAX_NAME_LENGTH] for name in names)
    return tuple(name for name in cleaned if name)[:MAX_NAMES]
