"""The ``overworld up`` command: PostgreSQL, web, and one asyncio process for everything else."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from urllib.error import URLError
from urllib.request import urlopen

import click
import structlog

from overworld import wiring, worker_wiring
from overworld.controller.role import run_controller
from overworld.domain.errors import Unavailable
from overworld.domain.recovery import Preparedness, derive_health
from overworld.monitor.role import run_monitor
from overworld.recovery_marker import check_no_recovery
from overworld.settings import Settings
from overworld.store import world_leases
from overworld.store.database import Database
from overworld.store.lease import release_all_of
from overworld.store.recovery import find_recovery
from overworld.store.recovery_mark import check_no_mark
from overworld.store.schema import upgrade
from overworld.telemetry import serve_metrics
from overworld.up.admin_token import keep_admin_token
from overworld.up.children import postgres_process, web_process
from overworld.up.listen_address import wait_until_free
from overworld.up.lock import sole_owner
from overworld.up.stop_games import count_running, stop_all_games

log = structlog.get_logger(__name__)

WEB_READY_WITHIN_SECONDS = 60.0
HOLDER_PREFIX = "up-"


async def run_up(settings: Settings, *, stop_games: bool) -> None:
    """Run Overworld until SIGINT or SIGTERM. Everything it started ends with it, but the games: those keep running
    and are adopted by the next ``up``, unless ``stop_games``.

    Raises Conflict if another one runs on the same data folder, a recovery on it was not ended, or another program has
    the API's port, BadInput for a broken game file or an address that is not this machine's, Unavailable if PostgreSQL
    or web cannot be started.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    catalogue = wiring.load_catalogue(settings)
    with sole_owner(settings.data_folder):
        check_no_recovery(settings.data_folder)
        async with AsyncExitStack() as stack:
            if settings.runs_embedded_database:
                await stack.enter_async_context(postgres_process(wiring.embedded_postgres(settings)))
            await asyncio.to_thread(check_no_mark, wiring.database_url(settings))
            await asyncio.to_thread(upgrade, wiring.database_url(settings))
            database = await stack.enter_async_context(_open(settings))
            await asyncio.to_thread(_release_leases_of_the_dead, database, settings)
            await asyncio.to_thread(keep_admin_token, database, settings.data_folder, datetime.now(UTC))
            stack.enter_context(serve_metrics(settings.metrics_listen))
            engine = wiring.open_engine(settings)
            stack.push_async_callback(engine.close)
            cloud = wiring.open_cloud(settings)
            stack.push_async_callback(cloud.close)
            if stop_games:
                stack.push_async_callback(stop_all_games, wiring.open_engine(settings), click.echo)
            await wait_until_free(settings.listen_host, settings.listen_port, stop)
            await stack.enter_async_context(worker_wiring.files_server(settings, database, engine))
            await stack.enter_async_context(web_process())
            async with asyncio.TaskGroup() as roles:
                controller = run_controller(
                    database,
                    engine,
                    catalogue,
                    settings,
                    stop,
                    cloud=cloud,
                    public_host=wiring.public_host(settings),
                    holder=f"{HOLDER_PREFIX}{secrets.token_hex(4)}",
                )
                monitor = run_monitor(
                    database, engine, catalogue, settings, stop, holder=f"{HOLDER_PREFIX}{secrets.token_hex(4)}"
                )
                roles.create_task(controller, name="controller")
                roles.create_task(monitor, name="monitor")
                if settings.has_workers:
                    worker = worker_wiring.run_worker(
                        settings, database, engine, catalogue, stop, holder=f"{HOLDER_PREFIX}{secrets.token_hex(4)}"
                    )
                    roles.create_task(worker, name="worker")
                roles.create_task(_tell_when_ready(settings, database, stop), name="ready message")
            if not stop_games and (running := count_running(engine)):
                click.echo(
                    f"Games that keep running: {running}. The next `overworld up` finds them again; "
                    "one with --stop-games ends them with it."
                )


def _release_leases_of_the_dead(database: Database, settings: Settings) -> None:
    """Do not wait for the leases of an ``up`` that was killed to run out: we are the only one on this data folder, so
    the holders of the database inside it are dead. Nobody knows that of a database by URL."""
    if settings.runs_embedded_database:
        with database.transaction() as tx:
            release_all_of(tx, HOLDER_PREFIX)
            world_leases.release_all_of(tx, HOLDER_PREFIX)


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Database]:
    database = wiring.open_database(settings, "up")
    try:
        yield database
    finally:
        database.close()


async def _tell_when_ready(settings: Settings, database: Database, stop: asyncio.Event) -> None:
    url = settings.local_url
    give_up_at = asyncio.get_running_loop().time() + WEB_READY_WITHIN_SECONDS
    while not stop.is_set():
        if await asyncio.to_thread(_answers, f"{url}/readyz"):
            click.echo(f"Overworld is ready: {url}  (pages for people: {url}/docs)")
            click.echo(f"Admin token: in {settings.data_folder / 'admin-token'}; the overworld command finds it there.")
            await asyncio.to_thread(_warn_if_not_recoverable, settings, database)
            return
        if asyncio.get_running_loop().time() > give_up_at:
            raise Unavailable(f"The web process does not answer on {url} within {WEB_READY_WITHIN_SECONDS:.0f} s.")
        await asyncio.sleep(0.05)


def _warn_if_not_recoverable(settings: Settings, database: Database) -> None:
    if not settings.has_workers:
        return
    with suppress(Unavailable):  # whatever is there to be told of that is told elsewhere
        with database.transaction() as tx:
            health = derive_health(find_recovery(tx), settings.dump_every, datetime.now(UTC))
        if health.state in {Preparedness.OFF, Preparedness.FENCED}:
            click.echo(f"Recovery is off. {health.message}")


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:  # noqa: S310 - our own http address
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
