"""Taking one look at one server: the engine first, then, if a process runs, the game itself."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter, Histogram

from overworld.domain.activity import Answer
from overworld.domain.errors import EngineUnavailable
from overworld.domain.games import Game
from overworld.domain.observed import Observed, Phase
from overworld.engines.base import Engine
from overworld.games.query import ask, has_query
from overworld.monitor.look import Look, Process
from overworld.store.activity import RunningServer

log = structlog.get_logger(__name__)

QUERY_TIMEOUT_SECONDS = 3.0
USAGE_TIMEOUT_SECONDS = 5.0

QUERY_SECONDS = Histogram(
    "overworld_monitor_query_seconds",
    "Time that a game took to say who plays; failed queries are not in it.",
    ["game"],
    buckets=(0.005, 0.02, 0.1, 0.5, 1.0, 3.0),
)
QUERY_FAILURES = Counter(
    "overworld_monitor_query_failures_total", "Queries that a game did not answer, or not as it should.", ["game"]
)


async def take_look(engine: Engine, server: RunningServer, game: Game | None, *, host: str | None) -> Look:
    """Look at one server, within 8 s. Raises nothing: whatever goes wrong is *unknown*, and is logged.

    ``host`` overrides where the game is asked (its endpoints are for players). It is asked only while the engine sees
    its process, for on a port that it has left somebody else may answer.
    """
    is_asked = game is not None and has_query(game)
    try:
        async with asyncio.timeout(USAGE_TIMEOUT_SECONDS):
            usage = await engine.usage(server.server_id)
        if usage is None and _may_run(engine.observed(server.server_id)):
            raise EngineUnavailable("The engine does not know yet whether it runs.")
    except Exception as error:
        log.warning("what the server uses is not known", server_id=server.server_id, error=repr(error))
        return Look(server.server_id, datetime.now(UTC), time.monotonic(), Process.UNKNOWN, has_query=is_asked)
    at, clock = datetime.now(UTC), time.monotonic()  # of the usage: the query may take seconds
    if usage is None:
        return Look(server.server_id, at, clock, Process.GONE)
    answer = await _ask(server, game, host) if game is not None and is_asked else None
    return Look(server.server_id, at, clock, Process.RUNS, usage, is_asked, answer)


def _may_run(seen: Observed) -> bool:
    """Whether the engine cannot say that there is no process: "gone" reads as "nobody plays", so both must agree."""
    return not seen.complete or (seen.process is not None and seen.process.phase not in {Phase.WAITING, Phase.STOPPED})


async def _ask(server: RunningServer, game: Game, host: str | None) -> Answer | None:
    """The game's answer, or None for whatever goes wrong with it: an old row must not stand because of a new fault."""
    began = time.monotonic()
    try:
        answer = await ask(game, server.endpoints, QUERY_TIMEOUT_SECONDS, host=host)
    except Exception as error:
        QUERY_FAILURES.labels(game.slug).inc()
        log.debug("the game did not answer", server_id=server.server_id, game=game.slug, error=repr(error))
        return None
    QUERY_SECONDS.labels(game.slug).observe(time.monotonic() - began)
    return answer
