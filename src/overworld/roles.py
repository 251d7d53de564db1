"""One role alone in a process, for installations that deploy them apart."""

from __future__ import annotations

import asyncio
import signal

import structlog

from overworld import wiring, worker_wiring
from overworld.domain.errors import Unavailable
from overworld.recovery_marker import check_no_recovery
from overworld.settings import Settings
from overworld.store import schema
from overworld.store.recovery_mark import check_no_mark
from overworld.telemetry import serve_metrics

log = structlog.get_logger(__name__)


async def run_role(name: str, settings: Settings) -> None:
    """Run the controller, the monitor or a worker until SIGINT or SIGTERM. Raises Unavailable if the database does not
    answer or its schema is not the one of this version, Conflict while a recovery is not ended."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    check_no_recovery(settings.data_folder)
    catalogue = wiring.load_catalogue(settings)
    check_no_mark(wiring.database_url(settings))
    if not schema.is_current(wiring.database_url(settings)):
        raise Unavailable("The database's schema is not the one of this version: run `overworld db upgrade`.")
    database = wiring.open_database(settings, name)
    engine = wiring.open_engine(settings, observe_only=name != "controller")
    cloud = wiring.open_cloud(settings)
    try:
        with serve_metrics(settings.metrics_listen):
            if name == "controller":
                from overworld.controller.role import run_controller

                await run_controller(
                    database, engine, catalogue, settings, stop, cloud=cloud, public_host=wiring.public_host(settings)
                )
            elif name == "worker":
                await engine.start(lambda _: None)
                async with worker_wiring.files_server(settings, database, engine):
                    if settings.has_workers:
                        await worker_wiring.run_worker(settings, database, engine, catalogue, stop)
                    else:
                        log.warning("no world is saved: OVERWORLD_SAVE_STORE is not set", engine=settings.engine)
                        await stop.wait()
            else:
                from overworld.monitor.role import run_monitor

                await engine.start(lambda _: None)
                await run_monitor(database, engine, catalogue, settings, stop)
    finally:
        await engine.close()
        await cloud.close()
        database.close()
