"""Every setting, from the environment (``OVERWORLD_*``) alone. docs/configuration.md is checked against this file."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - listening on all is reached by loopback


def _default_data_folder() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/overworld")
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "overworld"


def _seconds(value: object) -> object:
    if isinstance(value, str) and value.removeprefix("-").replace(".", "", 1).isdecimal():
        return float(value)
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
"""Seconds ("90") or ISO 8601 ("PT90S", "P7D")."""


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
    engine: Literal["local", "memory"] = Field(
        default="local",
        description="Where servers run: processes on this machine, or (for tests and benchmarks) nowhere.",
    )
    listen_host: str = Field(default="127.0.0.1", description="Address on which the API listens.")
    listen_port: int = Field(default=8470, ge=1, le=65535, description="Port on which the API listens.")
    public_host: str | None = Field(
        default=None,
        description="Host name or IP that players use. Unset: this machine's own address towards the internet.",
    )
    port_range: str = Field(
        default="30000-30999", description="Ports that new servers may be given, first and last included."
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
    quota_servers: int = Field(default=10, ge=0, description="Servers a new account may own.")
    quota_memory_mib: int = Field(
        default=16384, ge=0, description="Memory in MiB that a new account's servers may have."
    )
    monitor_interval: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        description="How often each running game is asked who plays. Some games answer at most every 2 seconds.",
    )
    metrics_listen: str | None = Field(
        default=None,
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^:\s]+):[0-9]{1,5}$",
        description="host:port for the metrics of controller and monitor. Unset: not served. (The API has /metrics.)",
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

    @field_validator("port_range")
    @classmethod
    def _check_port_range(cls, value: str) -> str:
        first, _, last = value.partition("-")
        if not (first.isdigit() and last.isdigit() and 1024 <= int(first) <= int(last) <= 65535):
            raise ValueError("must be FIRST-LAST with 1024 ≤ FIRST ≤ LAST ≤ 65535, for example 30000-30999")
        return value

    @property
    def ports(self) -> range:
        """The ports of ``port_range``."""
        first, _, last = self.port_range.partition("-")
        return range(int(first), int(last) + 1)

    @property
    def local_url(self) -> str:
        """The API as this machine reaches it, also where it listens on every address."""
        host = _EVERYWHERE.get(self.listen_host, self.listen_host)
        return f"http://[{host}]:{self.listen_port}" if ":" in host else f"http://{host}:{self.listen_port}"

    @property
    def runs_embedded_database(self) -> bool:
        """Whether Overworld supervises its own PostgreSQL."""
        return self.database_url is None


def mistakes(error: ValidationError) -> list[tuple[str, str]]:
    """For people, what is wrong: each variable's name with a sentence that ends with its value."""
    return [
        (f"OVERWORLD_{str(item['loc'][0]).upper()}", f"{_plain(item['msg'])} (it is {item['input']!r})")
        for item in error.errors()
    ]


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")
