"""The composition root: which store, engine, console and catalogue a process of Overworld works with."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from overworld.domain.errors import BadInput
from overworld.settings import Settings

# Imported where they are used: `overworld web` must not pay for the engines, nor the controller for Flask.
if TYPE_CHECKING:
    from overworld.cloud.base import Cloud
    from overworld.domain.errors import SaveStoreRefused
    from overworld.engines.base import Console, Engine, WorldAccess
    from overworld.games.catalogue import Catalogue
    from overworld.saves.base import SaveStore
    from overworld.saves.installation import InstallationStore
    from overworld.saves.locations import StoreLocation
    from overworld.saves.retention import Policy
    from overworld.saves.secrets import Keyring
    from overworld.store.database import Database
    from overworld.store.embedded import EmbeddedPostgres
    from overworld.web.worker_link import WorkerLink
    from overworld.worker.dumping import Dumping
    from overworld.worker.local_snapshots import LocalSnapshots
    from overworld.worker.repositories import Repositories
    from overworld.worker.snapshots import Snapshots
    from overworld.worker.terms import Tools

STEWARD_SPARE_SECONDS = 1800
"""What is done at a world besides one save or restore in time."""
SAVE_CACHE_BYTES = 4 * 2**30


def embedded_postgres(settings: Settings) -> EmbeddedPostgres:
    """The PostgreSQL of this installation's data folder, started or not."""
    from overworld.store.embedded import EmbeddedPostgres

    return EmbeddedPostgres(settings.data_folder)


def database_url(settings: Settings) -> str:
    """Where the database is. The embedded one's password is read from its file, so that it is in no environment."""
    if settings.database_url is not None:
        return settings.database_url
    return embedded_postgres(settings).url


def open_database(settings: Settings, role: str, *, pool_size: int = 5) -> Database:
    """The database for one role of one process; opens no connection yet. Close it."""
    from overworld.store.database import Database

    return Database(
        database_url(settings),
        pool_size=pool_size,
        statement_timeout=timedelta(seconds=10),
        application_name=f"overworld-{role}",
    )


def load_catalogue(settings: Settings) -> Catalogue:
    """Every game that this installation offers. Raises BadInput naming the file and place of a mistake."""
    from overworld.games.catalogue import Catalogue

    return Catalogue.load(settings.catalogue_folders)


@cache
def public_host(settings: Settings) -> str:
    """The host that players are told: the setting, else the address this machine would use towards the internet.

    Nothing is sent: connecting a datagram socket only asks the routing table.
    """
    if settings.public_host is not None:
        return settings.public_host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def open_engine(settings: Settings, *, observe_only: bool = False) -> Engine:
    """The engine of this installation, not started. ``observe_only``: for a role that has no right to change anything.
    Raises BadInput for a kubeconfig that cannot be used."""
    if settings.engine == "kube":
        from overworld.engines.kube.access import read_kubeconfig
        from overworld.engines.kube.engine import KubeEngine
        from overworld.engines.kube.options import KubeOptions, ServiceType

        options = KubeOptions(
            namespace=settings.kube_namespace,
            registry=settings.kube_registry,
            image_tag=settings.kube_image_tag,
            storage_class=settings.kube_disk_class,
            world_size_mib=settings.disk_mib,
            service_type=ServiceType(settings.kube_service_type),
            cpu_request_millis=settings.kube_cpu_request_millis,
            kubelet_port=settings.kube_kubelet_port,
            priority_class=settings.kube_priority_class,
            steward_image=settings.kube_steward_image,
            steward_memory_mib=settings.kube_steward_memory_mib,
            steward_seconds=int(settings.save_deadline.total_seconds()) + STEWARD_SPARE_SECONDS,
        )
        return KubeEngine(read_kubeconfig(settings.kubeconfig), options, observe_only=observe_only)
    if settings.engine == "memory":
        from overworld.engines.memory import MemoryEngine

        return MemoryEngine()
    from overworld.engines.local.engine import LocalEngine

    return LocalEngine(settings.data_folder / "servers")


def open_cloud(settings: Settings) -> Cloud:
    """What gives servers their public addresses. Asks nobody yet."""
    if settings.cloud == "none":
        from overworld.cloud.none import NoCloud

        return NoCloud()
    from overworld.cloud.azure.cloud import AzureCloud
    from overworld.cloud.azure.identity import WorkloadIdentity, sign_in
    from overworld.cloud.azure.place import AzurePlace, Endpoints

    endpoints = Endpoints(
        arm=settings.azure_arm_url,
        audience=settings.azure_arm_url.rstrip("/"),
        entra=settings.azure_entra_url,
        storage=settings.azure_storage_url,
        ca_file=str(settings.azure_ca_file) if settings.azure_ca_file is not None else None,
    )
    identity = WorkloadIdentity(
        tenant_id=settings.azure_tenant_id or "",
        client_id=settings.azure_client_id or "",
        token_file=str(settings.azure_token_file),
    )
    place = AzurePlace(
        installation=settings.azure_installation,
        subscription_id=settings.azure_subscription_id or "",
        resource_group=settings.azure_resource_group or "",
        region=settings.azure_region,
        node_resource_group=settings.azure_node_resource_group
        or f"MC_{settings.azure_resource_group}_{settings.azure_cluster}_{settings.azure_region}",
        storage_account=settings.azure_storage_account or None,
        share=settings.azure_share,
        share_gib=settings.azure_share_gib,
        zones=tuple(zone for zone in settings.azure_zones.split(",") if zone),
        balancer_ports=settings.azure_balancer_ports,
    )
    return AzureCloud(place, sign_in(identity, endpoints), endpoints=endpoints)


def worker_key(settings: Settings) -> bytes:
    """The key of the tickets by which web asks the worker: the setting, else a file of this machine's own, made by
    whoever needs it first."""
    if settings.worker_secret is not None:
        return settings.worker_secret.get_secret_value().encode()
    from overworld.secret_file import keep_secret

    return keep_secret(settings.data_folder / "worker-secret")


def open_worker_link(settings: Settings) -> WorkerLink:
    """Web's way to the worker. Asks nobody yet."""
    from overworld.web.worker_link import WorkerLink

    where = settings.worker_url or settings.data_folder / "worker.socket"
    return WorkerLink(where, lambda: worker_key(settings))


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


def open_console(settings: Settings, database: Database) -> Console:
    """The console of this installation's engine. In a cluster, where a server is, is read from its status."""
    if settings.engine == "kube":
        from overworld.engines.kube.access import read_kubeconfig
        from overworld.engines.kube.console import KubeConsole
        from overworld.store.statuses import load_place

        return KubeConsole(
            read_kubeconfig(settings.kubeconfig),
            settings.kube_namespace,
            lambda server_id: load_place(database, server_id),
        )
    if settings.engine == "memory":
        raise BadInput("the memory engine has no console in another process; use engine=local")
    from overworld.engines.local.console import LocalConsole

    return LocalConsole(settings.data_folder / "servers")


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
    """What speaks to the save store, and why it cannot on this machine (None: it can). Blocking.

    Its cache, which grows with every server that was ever saved, is cut down to its bound at each start.
    """
    from overworld.domain.errors import SaveStoreRefused
    from overworld.saves.cache import trim_cache
    from overworld.saves.installation import InstallationStore
    from overworld.saves.program import find_restic
    from overworld.saves.restic import ResticOptions

    cache = settings.data_folder / "save-cache"
    options = ResticOptions(patience=settings.save_store_patience)
    trim_cache(cache, SAVE_CACHE_BYTES)
    try:
        return InstallationStore(find_restic(settings.restic), cache, options), None
    except SaveStoreRefused as error:
        return InstallationStore(Path("restic"), cache, options), error


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


def open_snapshots(settings: Settings, engine: Engine, store: SaveStore) -> Snapshots:
    """The way of worlds into the store, and back."""
    if settings.engine == "kube":
        from overworld.engines.kube.engine import KubeEngine
        from overworld.worker.steward_snapshots import StewardSnapshots

        assert isinstance(engine, KubeEngine)
        return StewardSnapshots(engine.stewards)
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

    numbers = {name: int(number) for name, _, number in (part.partition("=") for part in settings.save_keep.split(","))}
    quota = settings.save_quota_mib
    nothing = {"last": 0, "hourly": 0, "daily": 0, "weekly": 0, "monthly": 0}
    return Policy(**{**nothing, **numbers}, quota_bytes=None if quota is None else quota * 1024 * 1024)


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
