"""Every setting, from the environment (``OVERWORLD_*``) alone. docs/configuration.md is checked against this file."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from overworld.domain.offers import Offer
from overworld.domain.servers import Network
from overworld.setting_kinds import Duration, Keep, Schedule, TimeZone

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - listening on all is reached by loopback


DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


def _default_data_folder() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/overworld")
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "overworld"


class Settings(BaseSettings):
    """Read once, at the start of a process. Unknown ``OVERWORLD_*`` variables are reported by ``overworld doctor``."""

    model_config = SettingsConfigDict(env_prefix="OVERWORLD_", frozen=True, extra="ignore")

    data_folder: Path = Field(
        default_factory=_default_data_folder,
        description="Everything that Overworld keeps on this machine: worlds, the embedded database, tokens.",
    )
    database_url: str | None = Field(
        default=None,
        description="A PostgreSQL 15 or newer (postgresql://user:password@host/name). Unset: the embedded one.",
    )
    engine: Literal["local", "kube", "memory"] = Field(
        default="local",
        description="Where servers run: processes on this machine, pods of a Kubernetes cluster, or (for tests and "
        "benchmarks) nowhere.",
    )
    listen_host: str = Field(default="127.0.0.1", description="Address on which the API listens.")
    listen_port: int = Field(default=8470, ge=1, le=65535, description="Port on which the API listens.")
    public_host: str | None = Field(
        default=None,
        description="Host name or IP that players use. Unset: this machine's own address towards the internet.",
    )
    port_range: str | None = Field(
        default=None,
        description="Ports that new servers may be given, first and last included. Unset: 30000-30999; with "
        "engine=kube, where they are ports of nodes for servers of the network mode direct, 40000-49999.",
    )
    catalogue_folders: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="More folders with game files (*.toml), separated by colons. They win over the built-in ones.",
    )
    programs_folder: Path | None = Field(
        default=None,
        description="Where game programs from npm are installed (the folder that holds node_modules).",
    )
    retention: Duration = Field(
        default=timedelta(days=7), ge=timedelta(0), description="How long a deleted server can be undeleted."
    )
    save_store: str | None = Field(
        default=None,
        description="Where saves go: local:/folder, or s3:endpoint/bucket/prefix. Unset: the data folder's saves, or "
        "nowhere with engine=kube.",
    )
    save_store_key_id: str | None = Field(default=None, description="Key id for an s3 save store.")
    save_store_key: SecretStr | None = Field(default=None, description="Key for an s3 save store.")
    save_store_ca_file: Path | None = Field(
        default=None, description="The only certificate authority believed for an s3 save store (PEM)."
    )
    save_keys: SecretStr | None = Field(
        default=None,
        description="The keys that lock the passwords of saves, ID:KEY with spaces between, the one in use first. "
        "Unset: the data folder's save-keys, made at the first start. Without them no save can be read.",
    )
    restic: Path | None = Field(
        default=None, description="The program that saves. Unset: a restic of 0.18 or newer on PATH, or in .tools."
    )
    save_schedule: Schedule = Field(
        default="0 */6 * * *",
        max_length=100,
        description="When worlds are saved (cron's five fields) where a server's policy says nothing; empty: never.",
    )
    save_time_zone: TimeZone = Field(
        default="UTC", description="Time zone of that schedule, for example Europe/Berlin."
    )
    save_jitter: Duration = Field(
        default=timedelta(minutes=15),
        ge=timedelta(0),
        description="Servers due at one time are spread over this long; each server keeps its place.",
    )
    save_keep: Keep = Field(
        default="last=6,hourly=24,daily=7,weekly=4,monthly=6",
        description="How many saves are kept where a server's policy says nothing. Pinned ones are kept besides.",
    )
    save_quota_mib: int | None = Field(
        default=None, ge=1, description="The most in MiB that a server's saves may add to the store. Unset: no bound."
    )
    save_retention: Duration = Field(
        default=timedelta(days=30), ge=timedelta(0), description="How long the saves of a purged server are kept."
    )
    save_deadline: Duration = Field(
        default=timedelta(hours=2), ge=timedelta(seconds=10), description="How long one save or restore may take."
    )
    save_silence: Duration = Field(
        default=timedelta(minutes=1),
        ge=timedelta(seconds=5),
        description="How long a save may keep a game from writing; then the game goes on, and the save may be torn.",
    )
    save_store_patience: Duration = Field(
        default=timedelta(minutes=2),
        ge=timedelta(seconds=1),
        description="How long the save store may fail before a job is put off and its owner told.",
    )
    save_upload_kib_s: int | None = Field(
        default=None,
        ge=1,
        description="The most in KiB a second that one job sends to the save store. Unset: any.",
    )
    save_download_kib_s: int | None = Field(
        default=None, ge=1, description="The most in KiB a second that one job reads from it. Unset: any."
    )
    check_every: Duration = Field(
        default=timedelta(days=7), ge=timedelta(minutes=1), description="How often a server's saves are looked through."
    )
    drill_every: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(minutes=1),
        description="How often the newest save of a server is restored to scratch and compared.",
    )
    drills: bool = Field(default=True, description="Whether there are restore drills where a policy says nothing.")
    undo: Duration = Field(
        default=timedelta(days=3),
        ge=timedelta(0),
        description="How long the world before a restore is kept, so that the restore can be undone.",
    )
    dump_every: Duration = Field(
        default=timedelta(minutes=15),
        ge=timedelta(minutes=1),
        description="How often the database is dumped to the save store, once there is a recovery key.",
    )
    jobs_per_worker: int = Field(
        default=2, ge=1, le=64, description="Saves, restores and the like at once in one worker."
    )
    jobs_per_store: int = Field(
        default=8, ge=1, le=1000, description="The same in all workers together: what the save store can bear."
    )
    quota_servers: int = Field(default=10, ge=0, description="Servers a new account may own.")
    quota_memory_mib: int = Field(
        default=16384, ge=0, description="Memory in MiB that a new account's servers may have."
    )
    monitor_interval: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        description="How often each running game is asked who plays. Some games answer at most every 2 seconds.",
    )
    kubeconfig: Path | None = Field(
        default=None,
        description="The cluster, for engine=kube. Unset: the one that this pod is in, as its service account.",
    )
    kube_namespace: str = Field(
        default="overworld-games", pattern=DNS_LABEL, description="Namespace that holds game servers and nothing else."
    )
    kube_registry: str = Field(
        default="gameregistry.azurecr.io", description="Where the images of games are: REGISTRY/IMAGE:TAG."
    )
    kube_image_tag: str = Field(default="latest", description="Tag of the games' images.")
    kube_disk_class: str = Field(
        default="overworld-world", description="Storage class of worlds on disks; it should retain its volumes."
    )
    kube_service_type: Literal["LoadBalancer", "ClusterIP"] = Field(
        default="LoadBalancer",
        description="How the ports of a server leave the cluster; ClusterIP: they do not (for tests and benchmarks).",
    )
    kube_cpu_request_millis: int = Field(
        default=250, ge=1, description="Thousandths of a core that a node must have free for a server. No limit."
    )
    kube_priority_class: str | None = Field(
        default=None, description="Priority class of games, above placeholders. Unset: the cluster's default."
    )
    kube_steward_image: str | None = Field(
        default=None,
        description="Overworld's own image, run beside each game. Unset: overworld, beside the games' images.",
    )
    kube_steward_memory_mib: int = Field(
        default=512, ge=128, description="The most memory in MiB that this container may use, beyond the game's."
    )
    kube_kubelet_port: int = Field(default=10250, ge=1, le=65535, description="Where nodes serve their metrics.")
    disk_mib: int = Field(
        default=8192, ge=16, description="Size in MiB of a world's volume, for who does not ask for another."
    )
    network: Literal["stable", "direct"] = Field(
        default="stable",
        description="How players come in, for who does not ask: by an address of the server's own that never changes, "
        "or directly by ports of the node that it runs on.",
    )
    cloud: Literal["none", "azure"] = Field(
        default="none",
        description="Who gives servers their public addresses: the cluster's own balancer, or Azure through Overworld.",
    )
    azure_installation: str = Field(
        default="overworld",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$",
        description="Tells this installation's resources from others'. Never change it: they are found by it.",
    )
    azure_subscription_id: str | None = Field(default=None, description="The subscription. Needed for cloud=azure.")
    azure_resource_group: str | None = Field(
        default=None, description="Resource group of addresses and shares, our own. Needed for cloud=azure."
    )
    azure_region: str = Field(default="eastus", description="Where addresses are made; the cluster's region.")
    azure_cluster: str = Field(default="GameServerClusterProd", description="Name of the AKS cluster.")
    azure_node_resource_group: str | None = Field(
        default=None, description="Where AKS keeps the nodes. Unset: MC_(resource group)_(cluster)_(region)."
    )
    azure_storage_account: str | None = Field(
        default="gameserversa", description="Storage account of file shares. Empty: there are none."
    )
    azure_share: str = Field(default="overworld", description="File share that has a folder for each server.")
    azure_share_gib: int = Field(
        default=100, ge=1, description="Size of that share if it has to be made; premium accounts want 100 or more."
    )
    azure_zones: str = Field(default="1,2,3", description="Zones of addresses; empty in a region without zones.")
    azure_balancer_ports: int = Field(
        default=300, ge=1, description="Ports (address, port, protocol) that the cluster's balancer takes for games."
    )
    azure_tenant_id: str | None = Field(default=None, description="Tenant of the workload identity.")
    azure_client_id: str | None = Field(default=None, description="Client id of the workload identity.")
    azure_token_file: Path = Field(
        default=Path("/var/run/secrets/azure/tokens/azure-identity-token"),
        description="The service account's token, as Azure's webhook mounts it.",
    )
    azure_arm_url: str = Field(default="https://management.azure.com", description="Azure Resource Manager.")
    azure_entra_url: str = Field(default="https://login.microsoftonline.com", description="Where it signs in.")
    azure_storage_url: str = Field(
        default="https://{account}.file.core.windows.net", description="Azure Files of a storage account."
    )
    azure_ca_file: Path | None = Field(
        default=None, description="The only certificate authority believed for Azure (PEM). Unset: the usual ones."
    )
    node_loss_grace: Duration = Field(
        default=timedelta(seconds=60),
        ge=timedelta(0),
        description="How long a node of the cluster may be silent before it is found out whether its machine runs.",
    )
    node_power_off_after: Duration = Field(
        default=timedelta(minutes=3),
        ge=timedelta(0),
        description="A node whose machine runs and is silent for this long is powered off through the cloud, unless "
        "players are still seen on it, so that its servers can start elsewhere.",
    )
    drain_deadline: Duration = Field(
        default=timedelta(minutes=20),
        ge=timedelta(0),
        description="A cordoned node's servers move when nobody plays, and after this long whoever plays. AKS waits "
        "30 minutes for a drain: leave time for the games to save.",
    )
    metrics_listen: str | None = Field(
        default=None,
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^:\s]+):[0-9]{1,5}$",
        description="host:port for the metrics of controller and monitor. Unset: not served. (The API has /metrics.)",
    )
    worker_listen: str | None = Field(
        default=None,
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^:\s]+):[0-9]{1,5}$",
        description="host:port on which the worker listens for the API. Unset: a socket in the data folder.",
    )
    worker_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+$",
        description="Where the API reaches the worker (http://host:port). Unset: the data folder's socket.",
    )
    worker_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="What API and worker both know, 32 characters or more. Unset: the data folder's worker-secret.",
    )
    upload_mib: int = Field(
        default=16384, ge=1, description="The largest file in MiB that can be uploaded: into a world, or as a save."
    )
    save_before_edits: Duration = Field(
        default=timedelta(minutes=30),
        ge=timedelta(0),
        description="A change of a world's files waits for a save, unless there was one within this time. 0: never.",
    )
    unpacked_mib: int = Field(
        default=65536, ge=1, description="The largest world in MiB that an uploaded archive may hold."
    )
    resync_interval: Duration = Field(
        default=timedelta(minutes=10),
        ge=timedelta(seconds=1),
        description="How often the controller looks at every server without a reason.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="Log lines as JSON, or coloured for people; auto: for people on a terminal."
    )

    @field_validator("catalogue_folders", mode="before")
    @classmethod
    def _split_folders(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(":") if part)
        return value

    @field_validator("save_store")
    @classmethod
    def _check_save_store(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("engine") == "kube" and not value.startswith("s3:"):
            raise ValueError(
                "with engine=kube worlds are sent from many nodes, so it must be s3:endpoint/bucket/prefix"
            )
        return value

    @model_validator(mode="after")
    def _check_cloud(self) -> Self:
        if self.cloud == "azure":
            needed = ("azure_subscription_id", "azure_resource_group", "azure_tenant_id", "azure_client_id")
            missing = [f"OVERWORLD_{name.upper()}" for name in needed if not getattr(self, name)]
            if missing:
                raise ValueError(f"cloud=azure needs {', '.join(missing)}")
            if self.engine != "kube":
                raise ValueError("cloud=azure gives addresses to servers in a cluster: set OVERWORLD_ENGINE=kube")
        return self

    @field_validator("port_range")
    @classmethod
    def _check_port_range(cls, value: str | None) -> str | None:
        if value is None:
            return None
        first, _, last = value.partition("-")
        if not (first.isdigit() and last.isdigit() and 1024 <= int(first) <= int(last) <= 65535):
            raise ValueError("must be FIRST-LAST with 1024 ≤ FIRST ≤ LAST ≤ 65535, for example 30000-30999")
        return value

    @property
    def ports(self) -> range:
        """The ports of ``port_range``. In a cluster by default none of those that Kubernetes gives to Services."""
        first, _, last = (self.port_range or ("40000-49999" if self.engine == "kube" else "30000-30999")).partition("-")
        return range(int(first), int(last) + 1)

    @property
    def local_url(self) -> str:
        """The API as this machine reaches it, also where it listens on every address."""
        host = _EVERYWHERE.get(self.listen_host, self.listen_host)
        return f"http://[{host}]:{self.listen_port}" if ":" in host else f"http://{host}:{self.listen_port}"

    @property
    def offer(self) -> Offer:
        """What new servers can be given here."""
        if self.engine != "kube":
            return Offer()
        return Offer(
            network=Network(self.network),
            leases_addresses=self.cloud == "azure",
            balancer_ports=self.azure_balancer_ports if self.cloud == "azure" else None,
            disk_mib=self.disk_mib,
            has_shares=self.cloud == "azure" and bool(self.azure_storage_account),
        )

    @property
    def save_keep_counts(self) -> dict[str, int]:
        """``save_keep`` by the names of its numbers; what it leaves out is 0."""
        nothing = {"last": 0, "hourly": 0, "daily": 0, "weekly": 0, "monthly": 0}
        parts = (part.partition("=") for part in self.save_keep.split(","))
        return nothing | {name: int(number) for name, _, number in parts}

    @property
    def has_workers(self) -> bool:
        """Whether worlds are saved here: a worker reaches both them and a store."""
        return self.engine == "local" or (self.engine == "kube" and self.save_store is not None)

    @property
    def runs_embedded_database(self) -> bool:
        """Whether Overworld supervises its own PostgreSQL."""
        return self.database_url is None
