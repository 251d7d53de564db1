"""Procrastinate's side of jobs: fetching what is to be looked at, on connections of its own.

At most four: one that listens, and three in a pool for fetching, finishing and heartbeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import procrastinate
from procrastinate import exceptions

from overworld.domain.errors import Unavailable
from overworld.store.database import CONNECT_SECONDS, parse_url
from overworld.store.jobs import QUEUE, TASK

Work = Callable[[str], Awaitable[None]]
"""Given the id of an operation, does what there is to do for it. Raises nothing."""

POOL_SIZE = 3
POLL_SECONDS = 5.0
"""Behind NOTIFY, which may be lost."""
LAST_WORK_SECONDS = 2.0
"""How long a clean stop waits for what it handed out; whoever works on it decides himself when to end."""


async def serve(url: str, work: Work, *, at_once: int, stop: asyncio.Event) -> None:
    """Call ``work`` for every operation that somebody is to look at, ``at_once`` at most, until ``stop``. Returns early
    when a part of it failed: call it again. Raises Unavailable where PostgreSQL does not answer."""
    conninfo = parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connector = procrastinate.PsycopgConnector(
        conninfo=conninfo,
        min_size=1,
        max_size=POOL_SIZE,
        timeout=CONNECT_SECONDS,
        kwargs={
            "application_name": "overworld-jobs",
            "connect_timeout": CONNECT_SECONDS,
            "options": "-c search_path=procrastinate -c timezone=UTC",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    app = procrastinate.App(connector=connector)

    @app.task(name=TASK, queue=QUEUE)
    async def look_at(operation_id: str) -> None:
        await work(operation_id)

    try:
        async with app.open_async():
            serving = asyncio.create_task(
                app.run_worker_async(
                    queues=[QUEUE],
                    name="jobs",
                    concurrency=at_once,
                    fetch_job_polling_interval=POLL_SECONDS,
                    shutdown_graceful_timeout=LAST_WORK_SECONDS,
                    delete_jobs="always",
                    install_signal_handlers=False,
                )
            )
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
                if not serving.done():
                    serving.cancel()
                results = await asyncio.gather(serving, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception):
                    raise result
    except (exceptions.ConnectorException, OSError) as error:
        raise Unavailable("The database does not answer; jobs are fetched again when it does.") from error
