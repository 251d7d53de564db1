"""What a worker works with: the worlds, the save store, and what leads from one to the other."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from overworld.domain.errors import BadInput
from overworld.settings import Settings
from overworld.wiring import open_console, worker_key

# Imported where they are used, as in wiring.
if TYPE_CHECKING:
    from datetime import timedelta

    from overworld.domain.errors import SaveStoreRefused
    from overworld.engines.base import Engine, WorldAccess
    from overworld.games.catalogue import Catalogue
    from overworld.saves.base import SaveStore
    from overworld.saves.installation import InstallationStore
    from overworld.saves.locations import StoreLocation
    from overworld.saves.options import ResticOptions
    from overworld.saves.retention import Policy
    from overworld.saves.secrets import Keyring
    from overworld.store.database import Database
    from overworld.worker.dumping import Dumping
    from overworld.worker.local_snapshots import LocalSnapshots
    from overworld.worker.repositories import Repositories
    from overworld.worker.snapshots import Snapshots
    from overworld.worker.terms import Tools


def open_worlds(settings: Settings, engine: Engine) -> WorldAccess | None:
    """The way to the files of this installation's worlds, in a cluster through what ``engine`` sees; None where there
    is none."""
    if settings.engine == "kube":
        from overworld.engines.kube.agents import KubeWorlds
        from overworld.engines.kube.engine import KubeEngine

        assert isinstance(engine, KubeEngine)
        return KubeWorlds(engine.stewards)
    if settings.engine != "local":
        return None
    from overworld.engines.local.agent import LocalWorlds

    return LocalWorlds(settings.data_folder / "servers")


@asynccontextmanager
async def files_server(settings: Settings, database: Database, engine: Engine) -> AsyncIterator[None]:
    """Answer web about the files of worlds and saves for as long as the block lasts. Raises BadInput for an address
    that is not this machine's."""
    worlds = open_worlds(settings, engine)
    if worlds is None:
        yield
        return
    from overworld.worker.address import listen_in, listen_on
    from overworld.worker.files_http import FilesServer
    from overworld.worker.saved_worlds import SavedWorlds

    store, _ = open_save_store(settings)
    worlds = SavedWorlds(worlds, store, open_repositories(settings, database) if settings.has_workers else None)
    listen = settings.worker_listen
    listener = listen_in(settings.data_folder) if listen is None else listen_on(listen)
    async with FilesServer(worlds, worker_key(settings)).serve(listener):
        yield


def save_location(settings: Settings) -> StoreLocation:
    """Where saves go. Raises BadInput for a store that cannot be."""
    from overworld.saves.locations import StoreLocation, parse_location

    if settings.save_store is None:
        return StoreLocation(folder=settings.data_folder / "saves")
    key = settings.save_store_key
    return parse_location(
        settings.save_store,
        key_id=settings.save_store_key_id or "",
        secret="" if key is None else key.get_secret_value(),
        ca_file=settings.save_store_ca_file,
    )


def save_keyring(settings: Settings) -> Keyring:
    """The keys that lock the passwords of saves: the setting's, else the data folder's, made if there are none."""
    from overworld.saves.secrets import load_or_make_keyring, parse_keyring

    if settings.save_keys is not None:
        return parse_keyring(settings.save_keys.get_secret_value())
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    return load_or_make_keyring(settings.data_folder / "save-keys")


def open_save_store(settings: Settings) -> tuple[InstallationStore, SaveStoreRefused | None]:
    """What speaks to the save store, and why it cannot on this machine (None: it can). Blocking."""
    from overworld.domain.errors import SaveStoreRefused
    from overworld.saves.installation import InstallationStore
    from overworld.saves.program import find_restic

    cache = settings.data_folder / "save-cache"
    options = restic_options(settings)
    try:
        return InstallationStore(find_restic(settings.restic), cache, options), None
    except SaveStoreRefused as error:
        return InstallationStore(Path("restic"), cache, options), error


async def reach_save_store(settings: Settings, saved: str | None, patience: timedelta) -> None:
    """The save store answers within ``patience``, takes its key, and has something of the server ``saved`` (an id;
    None: nothing was saved yet). Nothing is changed by it. Raises BadInput, and SaveError with what is wrong."""
    from overworld.saves.installation import INSTALLATION, InstallationStore
    from overworld.saves.program import find_restic
    from overworld.saves.secrets import new_password

    with TemporaryDirectory() as cache:
        options = replace(restic_options(settings), patience=patience)
        store = InstallationStore(find_restic(settings.restic), Path(cache), options)
        repository = save_location(settings).repository(saved or INSTALLATION, new_password())
        await store.reach(repository, is_there=saved is not None, deadline=2 * patience)


def restic_options(settings: Settings) -> ResticOptions:
    """How the save store is spoken to, here and from the nodes of a cluster."""
    from overworld.saves.options import ResticOptions

    return ResticOptions(
        patience=settings.save_store_patience,
        upload_kib_s=settings.save_upload_kib_s or 0,
        download_kib_s=settings.save_download_kib_s or 0,
    )


def open_repositories(settings: Settings, database: Database) -> Repositories:
    """Where the saves of each server are. Raises BadInput for a store or keys that cannot be."""
    from overworld.worker.repositories import Repositories

    return Repositories(database, save_location(settings), save_keyring(settings))


def open_dumping(settings: Settings, database: Database, *, holder: str) -> Dumping:
    """What dumps the database to the save store. Blocking. Raises BadInput for a store or keys that cannot be, and
    SaveStoreRefused where no restic is."""
    from overworld.worker.dumping import Dumping
    from overworld.worker.facts import read_facts

    store, refusal = open_save_store(settings)
    if refusal is not None:
        raise refusal
    return Dumping(
        database,
        store,
        save_location(settings),
        save_keyring(settings),
        lambda: read_facts(settings, save_keyring(settings).format()),
        holder=holder,
    )


def process_name() -> str:
    """A name for this start of this process that no other one has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def open_worker_tools(settings: Settings, database: Database, engine: Engine, catalogue: Catalogue) -> Tools:
    """What a worker works with. Blocking. Raises BadInput for a store or keys that cannot be, and for an engine whose
    worlds have no files."""
    from overworld.worker.claims import Claims
    from overworld.worker.terms import Tools

    worlds = open_worlds(settings, engine)
    if worlds is None:
        raise BadInput(f"a worker needs engine=local or engine=kube; with engine={settings.engine} no world has files")
    store, refusal = open_save_store(settings)
    return Tools(
        database=database,
        engine=engine,
        console=open_console(settings, database),
        catalogue=catalogue,
        store=store,
        repositories=open_repositories(settings, database),
        snapshots=open_snapshots(settings, engine, store),
        worlds=worlds,
        claims=Claims(database, store, save_location(settings), save_keyring(settings)),
        refusal=refusal,
    )


def open_snapshots(settings: Settings, engine: Engine, store: SaveStore, *, is_tidied: bool = True) -> Snapshots:
    """The way of worlds into the store, and back. ``is_tidied``: a controller runs."""
    if settings.engine == "kube":
        from overworld.engines.kube.engine import KubeEngine
        from overworld.worker.steward_snapshots import StewardSnapshots

        assert isinstance(engine, KubeEngine)
        engine.stewards.is_tidied = is_tidied
        return StewardSnapshots(engine.stewards, restic_options(settings))
    return open_local_snapshots(settings, store)


def open_local_snapshots(settings: Settings, store: SaveStore) -> LocalSnapshots:
    """The same of this machine's worlds."""
    from overworld.engines.local.agent import LocalWorlds
    from overworld.engines.local.generations import Generations
    from overworld.worker.local_snapshots import LocalSnapshots

    folder = settings.data_folder / "servers"
    scratch = settings.data_folder / "scratch"
    return LocalSnapshots(store, Generations(folder), LocalWorlds(folder), scratch, settings.programs_folder)


def _keep_policy(settings: Settings) -> Policy:
    from overworld.saves.retention import Policy

    quota = settings.save_quota_mib
    return Policy(**settings.save_keep_counts, quota_bytes=None if quota is None else quota * 1024 * 1024)


async def run_worker(
    settings: Settings,
    database: Database,
    engine: Engine,
    catalogue: Catalogue,
    stop: asyncio.Event,
    *,
    holder: str | None = None,
) -> None:
    """The worker of this installation, until ``stop``. The engine is started by whoever owns it."""
    from overworld.services import schedules
    from overworld.worker.role import Limits, run_worker
    from overworld.worker.terms import Terms

    tools = await asyncio.to_thread(open_worker_tools, settings, database, engine, catalogue)
    name = holder or process_name()
    dumping = None if tools.refusal else await asyncio.to_thread(open_dumping, settings, database, holder=name)
    await run_worker(
        tools,
        Terms(
            keep=_keep_policy(settings),
            time_zone=settings.save_time_zone,
            deadline=settings.save_deadline,
            silence=settings.save_silence,
            undo=settings.undo,
            retention=settings.save_retention,
            unpacked_bytes=settings.unpacked_mib * 2**20,
        ),
        schedules.Terms(
            cron=settings.save_schedule,
            time_zone=settings.save_time_zone,
            jitter=settings.save_jitter,
            check_every=settings.check_every,
            drill_every=settings.drill_every,
            drill=settings.drills,
        ),
        Limits(here=settings.jobs_per_worker, in_all=settings.jobs_per_store),
        stop,
        dumping=dumping,
        dump_every=settings.dump_every,
        holder=name,
    )
