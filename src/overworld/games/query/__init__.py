"""Asking a game, in its own protocol, whether it lives and who plays.

Whatever goes wrong, from a closed port to a malformed answer, is ``QueryFailed``: unknown, never nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from overworld.domain.activity import Answer
from overworld.domain.games import Game
from overworld.domain.servers import Endpoint
from overworld.games.query import luanti, minecraft, openttd, quake3
from overworld.games.query.failure import QueryFailed

__all__ = ["QueryFailed", "ask", "can_probe", "has_query", "probe", "probe_at"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What a protocol can do: every one proves a living game, not every one tells who plays."""

    probe: Callable[[str, int], Awaitable[None]]
    ask: Callable[[str, int], Awaitable[Answer]] | None = None


PROTOCOLS: dict[str, _Spoken] = {
    "luanti": _Spoken(luanti.probe),
    "quake3": _Spoken(quake3.probe, quake3.ask),
    "openttd": _Spoken(openttd.probe, openttd.ask),
    "minecraft": _Spoken(minecraft.probe, minecraft.ask),
}


def has_query(game: Game) -> bool:
    """Whether ``ask`` can tell who plays this game."""
    return game.query is not None and PROTOCOLS[game.query.protocol].ask is not None


def can_probe(game: Game) -> bool:
    """Whether ``probe`` can tell that this game lives."""
    return game.query is not None


async def ask(game: Game, endpoints: Sequence[Endpoint], timeout: float, *, host: str | None = None) -> Answer:  # noqa: ASYNC109 (the bound is this module's promise)
    """Who plays, by the game's own answer within ``timeout`` seconds.

    ``host`` takes the place of the endpoint's, for a caller on the same machine. One try, no state: asking again is
    always safe, but see quake3 for how often. Raises QueryFailed for anything wrong, and nothing else.
    """
    spoken = PROTOCOLS[game.query.protocol].ask if game.query is not None else None
    if spoken is None:
        raise QueryFailed(f"{game.title} has no way to be asked who plays.")
    return await _speak(spoken, game.title, _endpoint(game, endpoints), timeout, host)


async def probe(game: Game, endpoints: Sequence[Endpoint], timeout: float, *, host: str | None = None) -> None:  # noqa: ASYNC109
    """Returns when the game itself answered a handshake within ``timeout`` seconds; arguments and errors as ``ask``."""
    if game.query is None:
        raise QueryFailed(f"{game.title} has no protocol in which it could be asked.")
    await probe_at(game.title, game.query.protocol, _endpoint(game, endpoints), timeout, host=host)


async def probe_at(
    title: str,
    protocol: str,
    endpoint: Endpoint,
    timeout: float,  # noqa: ASYNC109
    *,
    host: str | None = None,
) -> None:
    """The same of a game of which no more is known; ``protocol`` is its query's."""
    await _speak(PROTOCOLS[protocol].probe, title, endpoint, timeout, host)


def _endpoint(game: Game, endpoints: Sequence[Endpoint]) -> Endpoint:
    """Where it is asked."""
    assert game.query is not None
    endpoint = next((endpoint for endpoint in endpoints if endpoint.name == game.query.port), None)
    if endpoint is None:
        raise QueryFailed(f"The server has no endpoint for {game.title}'s port {game.query.port} yet.")
    return endpoint


async def _speak(
    spoken: Callable[[str, int], Awaitable[T]],
    title: str,
    endpoint: Endpoint,
    seconds: float,
    host: str | None,
) -> T:
    where = f"{endpoint.protocol}/{host or endpoint.host}:{endpoint.port}"
    try:
        async with asyncio.timeout(seconds):
            return await spoken(host or endpoint.host, endpoint.port)
    except QueryFailed:
        raise
    except TimeoutError as error:
        raise QueryFailed(f"{title} did not answer at {where} within {seconds:g} s.") from error
    except OSError as error:
        raise QueryFailed(f"{title} cannot be reached at {where}: {error.strerror or error}.") from error
    except Exception as error:  # a border: what answers there may be anything
        raise QueryFailed(f"What {title} answered at {where} is malformed: {error!r:.200}") from error
