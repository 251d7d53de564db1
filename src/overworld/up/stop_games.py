"""Ending every game of this machine, worlds saved: what Ctrl-C means to somebody who tries Overworld out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from overworld.controller.executor import NOTHING
from overworld.domain.observed import Phase, ProcessSeen, Want
from overworld.engines.base import Engine

LONGEST_STOP_SECONDS = 90.0

_ENDED = {Phase.STOPPED}


async def stop_all_games(engine: Engine, tell: Callable[[str], None]) -> None:
    """Ask every running game to save and quit and wait for all of them, telling how each ended.

    What their owners want is left as it is: the next ``overworld up`` starts them again. Uses an engine of its own
    that nobody has started yet. Gives up on games that outlive even being killed, after 90 s, and says so.
    """
    changed = asyncio.Event()
    await engine.start(lambda _: changed.set())
    try:
        running = {
            server_id: process
            for server_id in engine.server_ids()
            if (process := engine.observed(server_id).process) is not None and process.phase not in _ENDED
        }
        asked = [engine.apply(_stop_of(server_id, process), NOTHING) for server_id, process in running.items()]
        for server_id, error in zip(running, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if error is not None:
                tell(f"{server_id}: cannot be asked to stop: {error}")
        try:
            async with asyncio.timeout(LONGEST_STOP_SECONDS):
                while running:
                    changed.clear()
                    for server_id in list(running):
                        seen = engine.observed(server_id).process
                        if seen is None or seen.phase in _ENDED:
                            del running[server_id]
                            tell(_farewell(server_id, seen))
                    if running:
                        await changed.wait()
        except TimeoutError:
            tell(f"gave up waiting for: {', '.join(sorted(running))}")
    finally:
        await engine.close()


def count_running(engine: Engine) -> int:
    """How many games run, by what a started engine saw last."""
    seen = [engine.observed(server_id).process for server_id in engine.server_ids()]
    return sum(process is not None and process.phase not in _ENDED for process in seen)


def _stop_of(server_id: str, process: ProcessSeen) -> Want:
    return Want(
        server_id=server_id,
        number=0,
        running=False,
        restarts=process.restarts,
        spec_hash=process.spec_hash,
        world_generation=0,
        memory_mib=0,
        endpoints=(),
    )


def _farewell(server_id: str, seen: ProcessSeen | None) -> str:
    saved = seen.last_exit.save_seen if seen is not None and seen.last_exit is not None else None
    words = {True: "world saved (seen)", False: "stopped, but its save was NOT seen", None: "stopped"}
    return f"{server_id}: {words[saved]}"
