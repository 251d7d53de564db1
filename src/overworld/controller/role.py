"""The controller: holds the lease and works, or stands by until it can have it."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from overworld.cloud.base import Cloud
from overworld.controller.cloud_watch import watch_cloud
from overworld.controller.housekeeping import keep_house
from overworld.controller.leadership import Leadership
from overworld.controller.metrics import QUEUE_DEPTH, QUEUE_OLDEST_SECONDS
from overworld.controller.node_guard import NodeGuard
from overworld.controller.node_plan import NodeRules
from overworld.controller.node_rows import DatabaseNodeRows
from overworld.controller.preparing import Terms, no_trouble
from overworld.controller.reconciler import Reconciler
from overworld.controller.rows import DatabaseRows, Rows
from overworld.controller.workqueue import WorkQueue
from overworld.domain.errors import Unavailable
from overworld.domain.servers import ServerId
from overworld.engines.base import Engine
from overworld.games.catalogue import Catalogue
from overworld.settings import Settings
from overworld.store.database import Database
from overworld.store.lease import LeaseLost
from overworld.store.notify import DESIRED, Listener

POLL_SECONDS = 5.0
"""Behind NOTIFY, which may be lost."""
STANDBY_LOOK_SECONDS = 2.0
PAUSE_AFTER_FAULT_SECONDS = 1.0
GATHER_SECONDS = 0.1
"""How long an engine's news is gathered before anybody looks: a world changes in bursts, and many servers are read and
written at the price of one."""
LAST_WORK_SECONDS = 10.0
"""How long a clean stop waits for what is in work. What is not done then is done by the next controller."""

LEAST_FRESH = timedelta(seconds=60)
"""A look at a server that is not older than this, nor than three of the monitor's intervals, says who plays."""

log = structlog.get_logger(__name__)


async def run_controller(
    database: Database,
    engine: Engine,
    catalogue: Catalogue,
    settings: Settings,
    stop: asyncio.Event,
    *,
    cloud: Cloud,
    public_host: str,
    holder: str | None = None,
) -> None:
    """Make the world match the rows until ``stop`` is set, whenever this process holds the lease; then release it.

    Only one controller of a database works at a time; the others take over within 20 s of its death, at once after
    its clean stop. PostgreSQL and the engine may go away and come back. ``public_host`` is where players reach the
    servers; ``holder`` must be new for every start of a process. The engine is started at the first leadership;
    neither engine nor cloud is closed here: that is the caller's.
    """
    name = holder or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    controller = _Controller(database, engine, catalogue, settings, cloud=cloud, public_host=public_host)
    while not stop.is_set():
        leadership = Leadership(database, name)
        try:
            if await leadership.acquire():
                log.info("this controller leads", holder=name, epoch=leadership.epoch)
                await controller.lead(leadership, stop)
                log.info("this controller ended its work", holder=name)
                return
            await _pause(stop, STANDBY_LOOK_SECONDS)
        except* LeaseLost:
            log.warning("the lease was lost: another controller has taken over, or PostgreSQL was away too long")
            await _pause(stop, PAUSE_AFTER_FAULT_SECONDS)
        except* Unavailable as errors:
            log.warning("the controller cannot work yet", error=str(errors.exceptions[0]))
            await _pause(stop, PAUSE_AFTER_FAULT_SECONDS)
        except* Exception:
            log.exception("the controller failed and begins anew")
            await _pause(stop, PAUSE_AFTER_FAULT_SECONDS)


class _Controller:
    """The work of a leader. Outlives a lost lease, so that the engine is started once."""

    def __init__(
        self,
        database: Database,
        engine: Engine,
        catalogue: Catalogue,
        settings: Settings,
        *,
        cloud: Cloud,
        public_host: str,
    ) -> None:
        self._database = database
        self._rows: Rows = DatabaseRows(database)
        self._engine = engine
        self._cloud = cloud
        self._catalogue = catalogue
        self._settings = settings
        self._host = public_host
        self._queue: WorkQueue | None = None
        self._news: set[ServerId] = set()
        self._is_engine_started = False

    async def lead(self, leadership: Leadership, stop: asyncio.Event) -> None:
        """Work until ``stop``; raises ``LeaseLost`` in a group the moment that the lease is gone."""
        queue = self._queue = WorkQueue()
        guard = self._guard(leadership.epoch)
        terms = Terms(
            epoch=leadership.epoch,
            host=self._host,
            ports=self._settings.ports,
            programs_folder=self._settings.programs_folder,
            offer=self._settings.offer,
            trouble_of=no_trouble if guard is None else guard.trouble_of,
        )
        reconciler = Reconciler(self._rows, self._engine, self._catalogue, queue, terms, cloud=self._cloud)
        try:
            async with asyncio.TaskGroup() as tasks, self._notifications() as news:
                background = [tasks.create_task(leadership.keep())]
                if not self._is_engine_started:
                    await self._engine.start(self._wake)
                    self._is_engine_started = True
                if guard is not None:
                    await guard.begin()
                    background.append(tasks.create_task(guard.run()))
                background += [
                    tasks.create_task(self._poll(queue, news)),
                    tasks.create_task(self._resync(queue)),
                    tasks.create_task(_measure(queue)),
                    tasks.create_task(keep_house(self._database)),
                ]
                if self._settings.offer.leases_addresses:
                    background.append(
                        tasks.create_task(watch_cloud(self._database, self._cloud, leadership.epoch, self._wake))
                    )
                working = tasks.create_task(reconciler.run())
                await stop.wait()
                queue.close()
                await asyncio.wait([working], timeout=LAST_WORK_SECONDS)
                for task in (working, *background):
                    task.cancel()
            await leadership.release()
        finally:
            self._queue = None
            leadership.end()
            QUEUE_DEPTH.set(0)
            QUEUE_OLDEST_SECONDS.set(0)

    def _guard(self, epoch: int) -> NodeGuard | None:
        """Who looks after the nodes; None where there are none."""
        settings, nodes = self._settings, self._engine.nodes
        if nodes is None:
            return None
        return NodeGuard(
            nodes,
            self._cloud,
            DatabaseNodeRows(self._database, epoch),
            self._catalogue,
            self._wake,
            rules=NodeRules(
                loss_grace=settings.node_loss_grace,
                power_off_after=max(settings.node_power_off_after, settings.node_loss_grace),
                drain_deadline=settings.drain_deadline,
            ),
            fresh=max(LEAST_FRESH, 3 * settings.monitor_interval),
        )

    def _wake(self, server_id: ServerId) -> None:
        if not self._news:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._queue_news)
        self._news.add(server_id)

    def _queue_news(self) -> None:
        news, self._news = self._news, set()
        if self._queue is not None:  # else the next leadership begins with a look at every server
            for server_id in news:
                self._queue.add(server_id)

    @asynccontextmanager
    async def _notifications(self) -> AsyncIterator[asyncio.Event]:
        news = asyncio.Event()
        loop = asyncio.get_running_loop()

        def tell(_channel: str) -> None:
            loop.call_soon_threadsafe(news.set)

        listener = Listener(self._database.url, [DESIRED], tell, application_name="overworld-controller-listener")
        listener.start()
        try:
            yield news
        finally:
            await asyncio.to_thread(listener.close)

    async def _poll(self, queue: WorkQueue, news: asyncio.Event) -> None:
        """Queue every server with a new wish: when told of one, and now and then without."""
        while True:
            news.clear()
            try:
                for server_id in await self._rows.due_ids():
                    queue.add(server_id)
            except Unavailable as error:
                log.warning("new wishes cannot be read", error=error.detail)
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await news.wait()
            except TimeoutError:
                continue

    async def _resync(self, queue: WorkQueue) -> None:
        """Queue every server that has rows or of which the engine has seen anything; first at once."""
        while True:
            try:
                ids = {*await self._rows.all_ids(), *self._engine.server_ids()}
            except Unavailable as error:
                log.warning("the servers cannot be read", error=error.detail)
                await asyncio.sleep(PAUSE_AFTER_FAULT_SECONDS)
                continue
            for server_id in ids:
                queue.add(server_id)
            await asyncio.sleep(self._settings.resync_interval.total_seconds())


async def _measure(queue: WorkQueue) -> None:
    while True:
        QUEUE_DEPTH.set(queue.depth)
        QUEUE_OLDEST_SECONDS.set(queue.oldest_age.total_seconds())
        await asyncio.sleep(1.0)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait that long, or until told to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
