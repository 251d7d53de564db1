"""One role alone in a process, for installations that deploy them apart."""

from __future__ import annotations

import asyncio
import signal

from overworld import wiring
from overworld.settings import Settings


async def run_role(name: str, settings: Settings) -> None:
    """Run the controller or the monitor until SIGINT or SIGTERM, on a database whose schema is already current."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    catalogue = wiring.load_catalogue(settings)
    database = wiring.open_database(settings, name)
    engine = wiring.open_engine(settings)
    try:
        if name == "controller":
            from overworld.controller.role import run_controller

            await run_controller(database, engine, catalogue, settings, stop)
        else:
            from overworld.monitor.role import run_monitor

            await run_monitor(database, engine, catalogue, settings, stop)
    finally:
        await engine.close()
        database.close()
