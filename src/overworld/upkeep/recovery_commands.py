"""``overworld recovery`` (being prepared) and ``overworld recover`` (bringing back)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import click

from overworld.commands import read_settings, run_to_end, with_postgres
from overworld.upkeep.asking import Moment, ask_secret, confirm, note

if TYPE_CHECKING:
    from overworld.domain.recovery import Recovery
    from overworld.settings import Settings
    from overworld.store.database import Database
    from overworld.upkeep.plan import Plan
    from overworld.worker.dumping import Dumping
    from overworld.worker.facts import Facts

T = TypeVar("T")


@click.group()
def recovery() -> None:
    """Be prepared for the loss of this machine.

    The database is dumped to the save store, and comes back from there with a recovery key that only you have.
    """


@recovery.command("create-key")
def create_key() -> None:
    """Make the recovery key, show it this once, and dump the database for the first time.

    The key goes to standard output, everything else to standard error. Write it down, and keep it apart from this
    machine and from the save store: who has it and can read the store has everything.
    """

    async def work(settings: Settings, dumping: Dumping) -> None:
        known = await dumping.claims.read()
        if known is not None and known.key_made_at is not None:
            raise click.ClickException(
                f"There is a recovery key already, made {known.key_made_at:%Y-%m-%d %H:%M} UTC. If it is lost, make"
                " another with `overworld recovery rotate-key`; the old one then opens nothing any more."
            )
        await _make_key(settings, dumping)

    _dumping(work)


@recovery.command("rotate-key")
def rotate_key() -> None:
    """Make another recovery key, show it this once; the one before it opens nothing any more.

    Who had the old one and could read the save store may have kept what was in it until now.
    """

    async def work(settings: Settings, dumping: Dumping) -> None:
        known = await dumping.claims.read()
        if known is None or known.key_made_at is None:
            raise click.ClickException("There is no recovery key yet: make it with `overworld recovery create-key`.")
        await _make_key(settings, dumping)

    _dumping(work)


@recovery.command("check-key")
def check_key() -> None:
    """Say whether a recovery key opens the dumps, and which there are.

    The key is asked for, or read from standard input. Nothing is changed.
    """

    def say(plan: Plan, facts: Facts) -> None:
        click.echo(f"The key opens the dumps. The newest is of {plan.dumped_at:%Y-%m-%d %H:%M} UTC.")
        click.echo(f"With it come {len(facts.settings)} settings, {len(facts.games)} game files and the save keys.")

    _look(say)


@recovery.command("save-keys")
def save_keys() -> None:
    """Print the save keys that belong to the newest dump, for the Secret of a cluster's worker.

    The recovery key is asked for, or read from standard input. What is printed opens every save together with the
    database: mind where it goes. Nothing is changed.
    """
    _look(lambda _, facts: click.echo(facts.save_keys))


def _look(say: Callable[[Plan, Facts], None]) -> None:
    settings = read_settings(quiet=True)

    async def work() -> None:
        from overworld import worker_wiring
        from overworld.saves.recovery_key import parse_recovery_key
        from overworld.upkeep.recover import Recover
        from overworld.upkeep.sites import open_site

        store, refusal = worker_wiring.open_save_store(settings)
        if refusal is not None:
            raise refusal
        key = parse_recovery_key(ask_secret("Recovery key"))
        say(*await Recover(open_site(settings), store, key, note).look())

    run_to_end(work())


@recovery.command("claim")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def claim(yes: bool) -> None:
    """Say that the installation lives on this machine after all.

    For a machine that was fenced off because the installation was recovered elsewhere, or for a trial that is to become
    the real one. The other one must be off: two that write to the same saves destroy them.
    """
    confirm("Is every other machine with this installation off, and will it stay off?", yes=yes)

    async def work(_: Settings, dumping: Dumping) -> None:
        await dumping.claim()
        click.echo("The installation lives here. The other one, if it ever comes back, writes nothing any more.")

    _dumping(work)


@recovery.command("status")
def status() -> None:
    """Say whether this installation could be brought back, and how much it would lose."""
    settings = read_settings(quiet=True)

    def look() -> None:
        from overworld.domain.recovery import derive_health
        from overworld.store.recovery import find_recovery

        def read(database: Database) -> Recovery | None:
            with database.transaction() as tx:
                return find_recovery(tx)

        known = _with_database(settings, read)
        now = datetime.now(UTC)
        health = derive_health(known, settings.dump_every, now)
        click.echo(f"state     {health.state}")
        click.echo(f"says      {health.message}")
        if known is not None and known.key_made_at is not None:
            click.echo(f"key       made {known.key_made_at:%Y-%m-%d %H:%M} UTC")
        if known is not None and known.dumped_at is not None:
            size = f"{known.dump_bytes / 2**20:.1f} MiB, {known.dump_new_bytes / 2**20:.1f} MiB of it new"
            click.echo(f"last dump {known.dumped_at:%Y-%m-%d %H:%M} UTC, {size}, in {known.dump_seconds:.1f} s")

    with_postgres(settings, look)


@click.command()
@click.option("--at", type=Moment(), metavar="TIME", help="By the newest dump that is not younger than this.")
@click.option("--trial", is_flag=True, help="Only try: the installation stays where it is, this copy never saves.")
@click.option("--without-failed", is_flag=True, help="End it although some worlds could not be brought back.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask whether the old installation is off.")
def recover(at: datetime | None, trial: bool, without_failed: bool, yes: bool) -> None:
    """Bring a lost installation back on this empty machine, or in this cluster.

    From its save store (OVERWORLD_SAVE_STORE and its key) and its recovery key, which is asked for or read from
    standard input. Servers come back with their ids, addresses, owners and worlds; `overworld up` then starts those
    that are wanted running. Interrupted, it goes on when it is run again. It overwrites nothing.

    In a cluster it is run in the worker's pod, while everything else is kept from starting: docs/recovery.md.
    """
    run_to_end(_recover(read_settings(quiet=True), at, trial=trial, without_failed=without_failed, yes=yes))


async def _recover(settings: Settings, at: datetime | None, *, trial: bool, without_failed: bool, yes: bool) -> None:
    from overworld import wiring, worker_wiring
    from overworld.saves.recovery_key import parse_recovery_key
    from overworld.up.children import postgres_process
    from overworld.upkeep.recover import Recover
    from overworld.upkeep.report import render_table
    from overworld.upkeep.sites import open_site

    site = open_site(settings)
    store, refusal = worker_wiring.open_save_store(settings)
    if refusal is not None:
        raise refusal
    with site.held():
        begun = site.mark.read()
        if begun is None:
            site.check_empty()
        work = Recover(site, store, parse_recovery_key(ask_secret("Recovery key")), note)
        began = monotonic()
        plan = begun or await work.choose(at, trial=trial)
        note(f"{'Going on with' if begun else 'By'} the dump of {plan.dumped_at:%Y-%m-%d %H:%M:%S} UTC.")
        if begun is None and not trial:
            note("The old installation writes nothing to its saves any more once this has begun. If its machine still")
            note("runs, its games go on, and what is played there is lost.")
            confirm("Is the old installation off, and will it stay off?", yes=yes)
        async with AsyncExitStack() as stack:
            facts = await work.begin(plan, again=begun is not None)
            if settings.runs_embedded_database:
                await stack.enter_async_context(postgres_process(wiring.embedded_postgres(settings)))
            snapshots = await stack.enter_async_context(site.snapshots(store))
            await work.bring_back_database(plan)
            note(f"The database is back ({monotonic() - began:.1f} s).")
            database = wiring.open_database(settings, "recover")
            stack.callback(database.close)
            outcomes = await work.bring_back_worlds(plan, database, snapshots)
            click.echo(render_table(outcomes))
            failed = [each for each in outcomes if each.problem]
            if failed and not without_failed:
                raise click.ClickException(
                    f"{len(failed)} of {len(outcomes)} worlds are not back. Mend what the table says and run this"
                    " again; or end it with --without-failed: those servers then wait for their worlds."
                )
            await work.end(database, outcomes)
        click.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} servers are back in {monotonic() - began:.1f} s.")
        for line in work.next_steps(facts):
            note(line)


async def _make_key(settings: Settings, dumping: Dumping) -> None:
    from overworld import worker_wiring

    key = await dumping.make_recovery_key()
    note("The recovery key. It is shown this once, and kept nowhere: write it down, apart from this machine and store.")
    note("")
    click.echo(key)
    note("")
    dumped = await dumping.dump()
    note(f"The database is in the save store ({dumped.result.bytes_total / 2**20:.1f} MiB).")
    folder = worker_wiring.save_location(settings).folder
    if folder is not None and folder.is_relative_to(settings.data_folder):
        note(f"CAREFUL: the save store is {folder}, and is lost with this disk. Set OVERWORLD_SAVE_STORE to another.")
    note("Try the key now and then: `overworld recovery check-key`, and elsewhere `overworld recover --trial`.")


def _dumping(work: Callable[[Settings, Dumping], Awaitable[None]]) -> None:
    from overworld import worker_wiring

    settings = read_settings(quiet=True)
    if not settings.has_workers:
        raise click.ClickException(
            f"Workers dump the database, and with OVERWORLD_ENGINE={settings.engine} none can run."
        )

    def run() -> None:
        def with_database(database: Database) -> None:
            dumping = worker_wiring.open_dumping(settings, database, holder=worker_wiring.process_name())

            async def go() -> None:
                await work(settings, dumping)

            asyncio.run(go())

        _with_database(settings, with_database)

    with_postgres(settings, run)


def _with_database(settings: Settings, work: Callable[[Database], T]) -> T:
    from overworld import wiring
    from overworld.store import recovery_mark, schema

    recovery_mark.check_no_mark(wiring.database_url(settings))
    schema.upgrade(wiring.database_url(settings))
    database = wiring.open_database(settings, "recovery")
    try:
        return work(database)
    finally:
        database.close()
