"""The commands that run Overworld rather than talk to it: up, the single roles, and db.

Each imports what it needs when it runs, so that ``overworld list`` does not pay for a controller.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

OPEN_FILES = 65536

if TYPE_CHECKING:
    from flask import Flask

    from overworld.cli.doctor import Check
    from overworld.domain.errors import OverworldError
    from overworld.settings import Settings


def read_settings(*, quiet: bool = False) -> Settings:
    """The settings, with logs configured by them; a wrong setting ends the program with one line a mistake. A command
    that ends by itself is ``quiet``: it logs what is unusual, or everything where that is asked for."""
    from pydantic import ValidationError

    from overworld.logs import configure_logs
    from overworld.mistakes import mistakes
    from overworld.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        lines = [f"{name}: {says}" for name, says in mistakes(error)]
        raise click.ClickException("wrong settings\n  " + "\n  ".join(lines)) from None
    configure_logs("warning" if quiet and settings.log_level == "info" else settings.log_level, settings.log_format)
    return settings


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    from overworld.domain.errors import OverworldError

    _allow_many_files()
    try:
        asyncio.run(work)
    except* OverworldError as group:
        raise click.ClickException("\n".join(_details(group))) from None


def _allow_many_files() -> None:
    """Every connection is a file, and so is every level of a deep world that is being compared: the usual 1024 are for
    programs that use ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _details(group: BaseExceptionGroup[Any]) -> list[str]:
    details: list[str] = []
    for error in group.exceptions:
        details += _details(error) if isinstance(error, BaseExceptionGroup) else [_explained(error)]
    return details


def _explained(error: OverworldError) -> str:
    from overworld.store.database import driver_words

    words = driver_words(error)
    return f"{error.detail} ({words})" if words else error.detail


@click.command()
@click.option("--stop-games", is_flag=True, help="At the end also stop every game, its world saved.")
def up(stop_games: bool) -> None:
    """Run Overworld on this machine, until Ctrl-C.

    Starts an embedded PostgreSQL (unless OVERWORLD_DATABASE_URL is set), the API, the controller, the monitor and a
    worker. Games keep running when it ends and are found again by the next "up".
    """
    settings = read_settings()
    from overworld.up.command import run_up

    run_to_end(run_up(settings, stop_games=stop_games))


@click.command()
@click.option("--parent", type=int, hidden=True, help="End when this process, which started it, ends.")
def web(parent: int | None) -> None:
    """Run only the API."""
    settings = read_settings()
    _check_no_recovery(settings)
    from overworld.web.server import serve

    # The application is made in the worker, after the fork: connections must not be shared between processes.
    serve(
        lambda: _make_app(settings),
        host=settings.listen_host,
        port=settings.listen_port,
        parent=parent,
    )


def _check_no_recovery(settings: Settings) -> None:
    """Ends the program while a recovery of the database is not ended. Web starts without its database."""
    from overworld import wiring
    from overworld.domain.errors import Conflict, Unavailable
    from overworld.store.recovery_mark import check_no_mark

    try:
        check_no_mark(wiring.database_url(settings))
    except Conflict as error:
        raise click.ClickException(error.detail) from None
    except Unavailable:
        return


def _make_app(settings: Settings) -> Flask:
    from overworld import wiring
    from overworld.web.app import create_app

    database = wiring.open_database(settings, "web")
    console = wiring.open_console(settings, database)
    return create_app(database, console, wiring.load_catalogue(settings), settings, wiring.open_worker_link(settings))


def _role(name: str, doc: str) -> click.Command:
    @click.command(name, help=doc)
    def command() -> None:
        settings = read_settings()
        from overworld.roles import run_role

        run_to_end(run_role(name, settings))

    return command


controller = _role("controller", "Run only the controller; a second one stands by until the first is gone.")
monitor = _role("monitor", "Run only the monitor; a second one stands by until the first is gone.")
worker = _role("worker", "Run only a worker, which saves and restores worlds; any number may run.")


@click.group()
def db() -> None:
    """Look after the database."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's schema to this version. Safe to run twice, and while an older version runs."""
    settings = read_settings(quiet=True)
    from overworld import wiring
    from overworld.store import recovery_mark, schema

    def upgrade() -> None:
        recovery_mark.check_no_mark(wiring.database_url(settings))
        schema.upgrade(wiring.database_url(settings))

    with_postgres(settings, upgrade)
    click.echo("The schema is current.")


@db.command("admin-token")
def db_admin_token() -> None:
    """Print an API token of the account "admin", a new one each time. Who has the database is an admin."""
    from datetime import UTC, datetime

    settings = read_settings(quiet=True)
    from overworld import wiring
    from overworld.services.bootstrap import ensure_admin_token

    def issue() -> None:
        database = wiring.open_database(settings, "db")
        try:
            with database.transaction() as tx:
                token = ensure_admin_token(tx, None, datetime.now(UTC))
        finally:
            database.close()
        click.echo(token)

    with_postgres(settings, issue)


@db.command("status")
def db_status() -> None:
    """Say where the database is and whether its schema is the one of this version."""
    settings = read_settings(quiet=True)
    from overworld import wiring
    from overworld.store import schema

    def look() -> None:
        url = wiring.database_url(settings)
        where = f"embedded, in {settings.data_folder / 'postgres'}" if settings.runs_embedded_database else "by URL"
        click.echo(f"database  {where}")
        revision = schema.current_revision(url)
        click.echo(f"revision  {revision or 'none'}")
        if schema.is_newer(revision):
            says = "of a NEWER Overworld: run that version"
        else:
            says = "current" if revision == schema.NEWEST else "NOT current: run `overworld db upgrade`"
        click.echo(f"schema    {says}")

    with_postgres(settings, look)


def with_postgres(settings: Settings, work: Callable[[], None], *, alone: bool = False) -> None:
    """Do it with the database running: the embedded one is started for the moment unless an ``up`` runs it. ``alone``:
    only while no ``up`` runs on the data folder."""
    from overworld import wiring
    from overworld.domain.errors import Conflict, OverworldError
    from overworld.up.lock import sole_owner

    try:
        with ExitStack() as stack:
            if settings.runs_embedded_database or alone:
                try:
                    stack.enter_context(sole_owner(settings.data_folder))
                except Conflict:
                    if alone:
                        raise
                else:
                    if settings.runs_embedded_database:
                        postgres = wiring.embedded_postgres(settings)
                        stack.callback(postgres.stop)
                        postgres.start()
            work()
    except OverworldError as error:
        raise click.ClickException(_explained(error)) from None


def local_checks() -> list[Check]:
    """What ``overworld doctor`` looks at on this machine itself."""
    from pydantic import ValidationError

    from overworld.cli.errors import BadUsage
    from overworld.doctor import checks
    from overworld.mistakes import mistakes
    from overworld.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        says = "; ".join(f"{name}: {says}" for name, says in mistakes(error))
        raise BadUsage("A setting cannot be used", says, mend="docs/configuration.md lists every setting.") from error
    return checks(settings, os.environ)


COMMANDS: tuple[click.Command, ...] = (up, web, controller, monitor, worker, db)
