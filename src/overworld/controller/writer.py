"""Stores what came of many servers in few transactions: whatever finished while the last one ran goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from overworld.controller.metrics import STATUS_WRITES
from overworld.controller.rows import Rows
from overworld.domain.errors import Unavailable
from overworld.domain.servers import ServerId
from overworld.store.lease import LeaseLost
from overworld.store.statuses import StatusWrite

MOST_AT_ONCE = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A write, and who wants to know of its end: None when it is stored, else the error. ``purge``: also forget the
    rows of the server."""

    write: StatusWrite
    on_end: Callable[[Exception | None], None]
    purge: bool = False

    @property
    def server_id(self) -> ServerId:
        """Whose status it is."""
        return self.write.server_id


class StatusWriter:
    """Writes one batch after another under one lease epoch; never two entries of one server in a batch, because a
    server is in work once. A write that the database cannot take does not hold up the others."""

    def __init__(self, rows: Rows, epoch: int, clock: Callable[[], datetime]) -> None:
        self._rows = rows
        self._epoch = epoch
        self._clock = clock
        self._entries: list[Entry] = []
        self._news = asyncio.Event()

    def add(self, entry: Entry) -> None:
        """Have it written soon."""
        self._entries.append(entry)
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled. Raises ``LeaseLost``: then nothing more may be written."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._entries:
                batch, self._entries = self._entries[:MOST_AT_ONCE], self._entries[MOST_AT_ONCE:]
                plain = [entry for entry in batch if not entry.purge]
                if plain:
                    await self._write(plain)
                for entry in batch:
                    if entry.purge:
                        await self._write([entry])

    async def _write(self, batch: list[Entry]) -> None:
        now = self._clock()
        try:
            if batch[0].purge:
                await self._rows.purge(self._epoch, batch[0].write, now)
            else:
                await self._rows.write(self._epoch, [entry.write for entry in batch], now)
        except LeaseLost:
            raise
        except Exception as error:
            if isinstance(error, Unavailable) or len(batch) == 1:
                if not isinstance(error, Unavailable):
                    log.exception("a status cannot be stored", server_id=batch[0].server_id)
                for entry in batch:
                    entry.on_end(error)
                return
            # One of them is what the database does not take: it alone must fail.
            for entry in batch:
                await self._write([entry])
        else:
            STATUS_WRITES.inc(len(batch))
            for entry in batch:
                entry.on_end(None)
