"""The monitor as a running role: looks spread over time, books written behind them, neither waiting for the other."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter, Gauge

from overworld.domain.errors import Unavailable
from overworld.engines.base import Engine
from overworld.games.catalogue import Catalogue
from overworld.monitor.books import Books
from overworld.monitor.clerk import Clerk
from overworld.monitor.probe import take_look
from overworld.monitor.rota import Rota
from overworld.settings import Settings
from overworld.store.activity import RunningServer
from overworld.store.database import Database

log = structlog.get_logger(__name__)

LOOKS_AT_ONCE = 128  # one that hangs holds its place for 8 s at most
LIST_EVERY_SECONDS = 5.0
WRITE_EVERY_SECONDS = 1.0
THIN_EVERY_SECONDS = 600.0
RETRY_AFTER_SECONDS = 2.0  # times 0.5 to 1.5
ENGINE_PATIENCE_SECONDS = 10.0  # how long an engine may fill its cache before its silence is written down as unknown

LOOKS = Counter("overworld_monitor_looks_total", "Looks at servers, by what they showed.", ["presence"])
WATCHED = Gauge("overworld_monitor_servers", "Servers that this monitor looks at; 0 while it stands by.")
DATABASE_FAILURES = Counter(
    "overworld_monitor_database_failures_total", "Rounds that the database did not let through."
)


async def run_monitor(
    database: Database,
    engine: Engine,
    catalogue: Catalogue,
    settings: Settings,
    stop: asyncio.Event,
    *,
    holder: str | None = None,
) -> None:
    """Keep activity, history and usage of every running server true until ``stop``; one active monitor at a time.

    Ends only by ``stop`` (or being cancelled), with everything counted written if the database lets it. ``engine`` is
    started by whoever owns it; ``holder`` must be new for every start of a process. Needs no other role: what stopped
    while no monitor ran is found at the start.
    """
    # On the machine itself a game is asked there: the address for players may be a router's, which does not loop back.
    host = "127.0.0.1" if settings.engine == "local" else None
    clerk = Clerk(database, holder or f"{socket.gethostname()}-{secrets.token_hex(4)}")
    await Monitor(clerk, engine, catalogue, settings.monitor_interval.total_seconds(), host).run(stop)


class Monitor:
    """One run of the role. ``interval_seconds`` lie between two looks at a server."""

    def __init__(
        self, clerk: Clerk, engine: Engine, catalogue: Catalogue, interval_seconds: float, host: str | None
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._interval_seconds = interval_seconds
        self._host = host
        self._clerk = clerk
        self._epoch: int | None = None
        self._servers: dict[str, RunningServer] = {}
        self._rota = Rota(interval_seconds)
        self._rota_changed = asyncio.Event()
        self._books = Books(interval_seconds)
        self._looks: set[asyncio.Task[None]] = set()
        self._free_places = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._list_at = 0.0
        self._patient_until = time.monotonic() + ENGINE_PATIENCE_SECONDS
        self._thin_at = time.monotonic() + THIN_EVERY_SECONDS * random.random()  # noqa: S311

    async def run(self, stop: asyncio.Event) -> None:
        """Look and write until ``stop``."""
        looking = asyncio.create_task(self._keep_looking(), name="monitor: looks")
        try:
            await self._keep_writing(stop)
        finally:
            for task in (looking, *self._looks):
                task.cancel()
            await asyncio.gather(looking, *self._looks, return_exceptions=True)
            WATCHED.set(0)
        try:
            await self._write()
            await asyncio.to_thread(self._clerk.give_up_lease)
        except Exception as error:
            log.warning("the last looks were not written", error=repr(error))

    async def _keep_looking(self) -> None:
        while True:
            for server_id in self._rota.take_due(time.monotonic()):
                task = asyncio.create_task(self._look_at(server_id))
                self._looks.add(task)
                task.add_done_callback(self._looks.discard)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rota.seconds_to_next(time.monotonic())):
                    await self._rota_changed.wait()
            self._rota_changed.clear()

    async def _look_at(self, server_id: str) -> None:
        try:
            async with self._free_places:
                if (server := self._servers.get(server_id)) is None:
                    return
                look = await take_look(self._engine, server, self._catalogue.find(server.game), host=self._host)
            row = self._books.record(server, look)
            LOOKS.labels(row.presence.value).inc()
        except Exception:
            log.exception("a look failed", server_id=server_id)
        finally:
            self._rota.done(server_id)

    async def _keep_writing(self, stop: asyncio.Event) -> None:
        failing = False
        while not stop.is_set():
            pause = WRITE_EVERY_SECONDS
            try:
                await self._work_at_the_desk()
                if failing:
                    log.info("the database lets the monitor through again")
                failing = False
            except Exception as error:
                DATABASE_FAILURES.inc()
                if not isinstance(error, Unavailable):
                    log.exception("the monitor could not write")
                elif not failing:
                    log.warning("the monitor cannot write; it keeps what it counts and tries again", error=error.detail)
                failing = True
                pause = RETRY_AFTER_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()

    async def _work_at_the_desk(self) -> None:
        clock = time.monotonic()
        if clock >= self._list_at:
            is_done = await self._refresh()
            self._list_at = clock + (min(LIST_EVERY_SECONDS, self._interval_seconds) if is_done else 0)
        await self._write()
        if self._epoch is not None and clock >= self._thin_at:
            is_more = await asyncio.to_thread(self._clerk.thin_history, datetime.now(UTC))
            self._thin_at = clock + (0 if is_more else THIN_EVERY_SECONDS)

    async def _refresh(self) -> bool:
        """Keep the lease and the list of servers. False: the engine is only starting, so look again soon."""
        epoch = await asyncio.to_thread(self._clerk.hold_lease)
        if epoch != self._epoch:
            self._start_over(epoch)
        servers = await asyncio.to_thread(self._clerk.list_servers) if epoch is not None else []
        if time.monotonic() < self._patient_until and not all(
            self._engine.observed(server.server_id).complete for server in servers
        ):
            return False
        self._servers = {server.server_id: server for server in servers}
        self._books.keep_only(self._servers)
        self._rota.set_members(self._servers, time.monotonic())
        self._rota_changed.set()
        WATCHED.set(len(self._rota))
        return True

    async def _write(self) -> None:
        batch = self._books.take()
        if not batch:
            return
        try:
            is_written = await asyncio.to_thread(self._clerk.write, batch)
        except Unavailable:
            self._books.put_back(batch)
            raise  # any other error drops the batch: what PostgreSQL will never take must not hold up the rest
        if not is_written:
            self._start_over(None)

    def _start_over(self, epoch: int | None) -> None:
        """Another monitor is or was the active one: what is unwritten here it may have counted too, so it goes."""
        if self._epoch is not None:
            log.warning("another monitor took over; dropping what was not written", epoch=epoch)
        self._epoch = epoch
        self._books = Books(self._interval_seconds)
        if epoch is None:
            self._servers = {}
            self._rota.set_members((), time.monotonic())
