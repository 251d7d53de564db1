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
    from overworld.engines.base import Console, Engine
    from overworld.games.catalogue import Catalogue
    from overworld.store.database import Database
    from overworld.store.embedded import EmbeddedPostgres


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


def open_engine(settings: Settings) -> Engine:
    """The engine of this installation, not started."""
    if settings.engine == "memory":
        from overworld.engines.memory import MemoryEngine

        return MemoryEngine()
    from overworld.engines.local.engine import LocalEngine

    return LocalEngine(settings.data_folder / "servers")


def open_console(settings: Settings) -> Console:
    """The console of this installation's engine."""
    if settings.engine == "memory":
        raise BadInput("the memory engine has no console in another process; use engine=local")
    from overworld.engines.local.console import LocalConsole

    return LocalConsole(settings.data_folder / "servers")
