"""The composition root: which store, engine, console and catalogue a process of Overworld works with."""

from __future__ import annotations

import socket
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from overworld.domain.errors import BadInput
from overworld.settings import Settings

# Imported where they are used: `overworld web` must not pay for the engines, nor the controller for Flask.
if TYPE_CHECKING:
    from overworld.cloud.base import Cloud
    from overworld.engines.base import Console, Engine
    from overworld.games.catalogue import Catalogue
    from overworld.store.database import Database
    from overworld.store.embedded import EmbeddedPostgres
    from overworld.web.worker_link import WorkerLink

STEWARD_SPARE_SECONDS = 1800
"""What is done at a world besides one save or restore in time."""


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
