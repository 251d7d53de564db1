"""Keeping the web process and PostgreSQL alive."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from overworld.domain.errors import OverworldError

if TYPE_CHECKING:
    from overworld.store.embedded import EmbeddedPostgres

log = structlog.get_logger(__name__)

LOOK_EVERY = timedelta(seconds=0.5)
RESTART_AFTER = timedelta(seconds=1)  # a program that dies at once is not started in a hot loop
STOP_WITHIN = timedelta(seconds=10)


@asynccontextmanager
async def web_process() -> AsyncIterator[None]:
    """Run ``overworld web`` for as long as the block lasts, started again whenever it ends.

    It dies with us even if we are killed (it asks the kernel for that itself, see web/server.py).
    """

    async def keep_alive() -> None:
        while True:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "overworld",
                "web",
                "--parent",
                str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us; we end it
            )
            try:
                status = await child.wait()
            finally:
                if child.returncode is None:
                    await _end(child)
            log.warning("web process ended; starting it again", exit_status=status)
            await asyncio.sleep(RESTART_AFTER.total_seconds())

    task = asyncio.create_task(keep_alive(), name="web process")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _end(child: asyncio.subprocess.Process) -> None:
    child.terminate()
    try:
        await asyncio.wait_for(child.wait(), STOP_WITHIN.total_seconds())
    except TimeoutError:
        child.kill()
        await child.wait()


@asynccontextmanager
async def postgres_process(postgres: EmbeddedPostgres) -> AsyncIterator[None]:
    """Run the embedded PostgreSQL for as long as the block lasts, started again whenever it dies.

    Started from the main thread on purpose, although that blocks the loop for a moment: the kernel's parent-death
    signal, which ends PostgreSQL if we are killed, counts the *thread* that forked as the parent (prctl(2)).
    """
    postgres.start()

    async def keep_alive() -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            if postgres.is_alive():
                continue
            log.warning("PostgreSQL ended; starting it again")
            try:
                postgres.start()
            except OverworldError as error:
                log.error("PostgreSQL does not start", reason=error.detail)
                await asyncio.sleep(RESTART_AFTER.total_seconds())

    task = asyncio.create_task(keep_alive(), name="PostgreSQL")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        postgres.stop()
