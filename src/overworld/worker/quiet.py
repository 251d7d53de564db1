"""A running game made to hold still: told not to write, proven to have written, and always told to go on.

What undoes it is written down before it is done: whatever dies, ``sweep`` of the next worker tells the game to go on.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from overworld.domain.errors import Conflict, OverworldError, Unavailable
from overworld.domain.games import Saving
from overworld.engines.base import Console, Line
from overworld.games.catalogue import Catalogue
from overworld.store import saving_off
from overworld.store.database import Database
from overworld.worker.job import Job
from overworld.worker.metrics import SAVING_OFF_SECONDS

LOOK_SECONDS = 0.05
MOST_LINES = 1000
UNDO_TRIES = 5

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Silence:
    """How still the game is. ``why_not`` is a sentence, "" where the proof came; ``off_seconds`` is known once it was
    told to go on."""

    why_not: str = ""
    off_seconds: float | None = None


class Quieter:
    """Tells games to hold still, through their consoles; none for longer than ``at_most``."""

    def __init__(self, console: Console, at_most: timedelta) -> None:
        self._console = console
        self._at_most = at_most

    @asynccontextmanager
    async def hold(self, job: Job, saving: Saving) -> AsyncIterator[Silence]:
        """The game writes nothing while the block runs, if the silence says so at its end. Told to go on when the block
        ends, however it does, or takes too long; if even that fails, the row stays and ``sweep`` does it."""
        server_id, silence = job.server_id, Silence()
        last = await asyncio.to_thread(self._console.lines, server_id, after=None, limit=1)
        await job.write(lambda tx: saving_off.write(tx, server_id, job.operation.id, datetime.now(UTC)))
        began = time.monotonic()
        over = asyncio.Event()
        undoing = asyncio.create_task(self._undo(over, job, saving, silence, began))
        try:
            try:
                for command in saving.before:
                    await asyncio.to_thread(self._console.send, server_id, command)
                why_not = await self._await_proof(server_id, saving, last)
            except (Conflict, Unavailable) as error:
                why_not = error.detail
            silence.why_not = silence.why_not or why_not
            yield silence
        finally:
            over.set()
            await asyncio.shield(undoing)

    async def _undo(self, over: asyncio.Event, job: Job, saving: Saving, silence: Silence, began: float) -> None:
        """A store that is slow or hangs must not keep a game from writing for hours: better a save that may be torn."""
        seconds = self._at_most.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                await over.wait()
        except TimeoutError:
            silence.why_not = f"It took longer than {seconds:.0f} s, so the game was told to write again meanwhile."
        await self._go_on(job, saving, silence, began)

    async def _await_proof(self, server_id: str, saving: Saving, last: Sequence[Line]) -> str:
        assert saving.proof is not None
        proof = re.compile(saving.proof)
        after = last[-1].id if last else None
        give_up_at = time.monotonic() + saving.within.total_seconds()
        while time.monotonic() < give_up_at:
            lines = await asyncio.to_thread(self._console.lines, server_id, after=after, limit=MOST_LINES)
            if any(proof.search(line.text) for line in lines):
                return ""
            after = lines[-1].id if lines else after
            await asyncio.sleep(LOOK_SECONDS)
        return f"The game did not say within {saving.within.total_seconds():.0f} s that its world is written."

    async def _go_on(self, job: Job, saving: Saving, silence: Silence, began: float) -> None:
        is_told = await tell_to_go_on(self._console, job.server_id, saving)
        silence.off_seconds = time.monotonic() - began
        SAVING_OFF_SECONDS.observe(silence.off_seconds)
        if is_told:
            await forget_off(job.database, job.server_id, job.operation.id)


async def tell_to_go_on(console: Console, server_id: str, saving: Saving) -> bool:
    """The game was told, or does not run any more (its next start writes by itself). False: try again later."""
    for attempt in range(UNDO_TRIES):
        try:
            for command in saving.after:
                await asyncio.to_thread(console.send, server_id, command)
            return True
        except Conflict:
            return True
        except OverworldError as error:
            log.warning("a game could not be told to write again", server_id=server_id, error=error.detail)
            await asyncio.sleep(0.1 * 2**attempt)
    return False


async def forget_off(database: Database, server_id: str, operation_id: str) -> None:
    """Remove the row of that job, if the database lets us; else the game is told once more, which does no harm."""

    def run() -> None:
        with database.transaction() as tx:
            saving_off.remove(tx, server_id, operation_id)

    try:
        await asyncio.to_thread(run)
    except Unavailable as error:
        log.warning("it is still written down that a game does not write", server_id=server_id, error=error.detail)


async def sweep(database: Database, console: Console, catalogue: Catalogue) -> int:
    """Games that were told not to write by somebody who died are told to go on; how many. Raises Unavailable."""

    def read() -> list[saving_off.Off]:
        with database.transaction() as tx:
            return saving_off.abandoned(tx)

    told = 0
    for off in await asyncio.to_thread(read):
        game = catalogue.find(off.game)
        if game is None or await tell_to_go_on(console, off.server_id, game.saving):
            age = datetime.now(UTC) - off.since
            log.warning(
                "a game was told to write again", server_id=off.server_id, off_seconds=round(age.total_seconds(), 1)
            )
            await forget_off(database, off.server_id, off.operation_id)
            told += 1
    return told
