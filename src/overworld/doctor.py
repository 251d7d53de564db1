"""What ``overworld doctor`` looks at on this machine: each check says what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
import difflib
import os
import shutil
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from overworld import confinement, wiring, worker_wiring
from overworld.cli.doctor import Check, Finding, Severity
from overworld.domain.errors import OverworldError
from overworld.settings import Settings

if TYPE_CHECKING:
    from overworld.domain.games import Game

LITTLE_DISK_MIB = 1024
STORE_PATIENCE = timedelta(seconds=5)
CLI_VARIABLES = {"OVERWORLD_URL", "OVERWORLD_TOKEN"}


def checks(settings: Settings, environment: Mapping[str, str]) -> list[Check]:
    """Every local check, cheap ones first. None changes anything."""
    return [
        Check("settings", lambda: _settings(environment)),
        Check("data folder", lambda: _data_folder(settings.data_folder)),
        Check("database", lambda: _database(settings)),
        Check("games", lambda: _games(settings)),
        Check("saves", lambda: _saves(settings)),
        Check("recovery", lambda: _recovery(settings)),
        Check("isolation", _isolation),
        Check("ports", lambda: _ports(settings)),
    ]


def _settings(environment: Mapping[str, str]) -> Finding:
    known = {f"OVERWORLD_{name.upper()}" for name in Settings.model_fields} | CLI_VARIABLES
    unknown = sorted(name for name in environment if name.startswith("OVERWORLD_") and name not in known)
    if not unknown:
        return Finding(Severity.OK, "every OVERWORLD_ variable is a setting")
    guesses = [f"{name} (did you mean {near[0]}?)" if (near := _nearest(name, known)) else name for name in unknown]
    return Finding(Severity.WARNING, f"unknown, so without effect: {', '.join(guesses)}", "see docs/configuration.md")


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, list(known), n=1)


def _data_folder(folder: Path) -> Finding:
    if not folder.exists():
        return Finding(Severity.WARNING, f"{folder} does not exist yet", "`overworld up` makes it")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            Severity.BAD,
            f"{folder} cannot be written by this user",
            "run as its owner, or set OVERWORLD_DATA_FOLDER to a folder of yours",
        )
    free_mib = shutil.disk_usage(folder).free // 2**20
    if free_mib < LITTLE_DISK_MIB:
        return Finding(
            Severity.BAD, f"only {free_mib} MiB are free in {folder}", "free some space: worlds cannot be saved soon"
        )
    return Finding(Severity.OK, f"{folder}, {free_mib / 1024:.0f} GiB free")


def _database(settings: Settings) -> Finding:
    from overworld.store import schema
    from overworld.store.database import driver_words

    if settings.runs_embedded_database and not (settings.data_folder / "postgres").exists():
        return Finding(Severity.WARNING, "there is none here yet", "`overworld up` makes it")
    try:
        url = wiring.database_url(settings)
        revision = schema.current_revision(url)
        if revision == schema.NEWEST:
            return Finding(Severity.OK, "answers, and its schema is current")
        if schema.is_newer(revision):
            return Finding(Severity.BAD, "its schema is of a newer Overworld", "run that version here")
        return Finding(Severity.BAD, "its schema is not the one of this version", "run `overworld db upgrade`")
    except OverworldError as error:
        mend = (
            "start Overworld with `overworld up`"
            if settings.runs_embedded_database
            else "check OVERWORLD_DATABASE_URL and that PostgreSQL runs"
        )
        words = driver_words(error)
        return Finding(Severity.BAD, f"does not answer: {words}" if words else error.detail, mend)


def _games(settings: Settings) -> Finding:
    try:
        games = wiring.load_catalogue(settings).games()
    except OverworldError as error:
        return Finding(Severity.BAD, error.detail, "correct the game file, or take it out of the folder")
    missing = [game for game in games if not _is_installed(game, settings)]
    if missing:
        installs = "; ".join(f"{game.slug}: {game.start.install}" for game in missing)
        there = len(games) - len(missing)
        return Finding(Severity.WARNING, f"{there} of {len(games)} games have their program here", installs)
    return Finding(Severity.OK, f"the programs of all {len(games)} games are here")


def _is_installed(game: Game, settings: Settings) -> bool:
    from overworld.games.launch import DEFAULT_PROGRAMS_FOLDER
    from overworld.games.templates import substitute

    values = {"programs": str(settings.programs_folder or DEFAULT_PROGRAMS_FOLDER)}
    # What lies in a server's own configuration is written before its start.
    paths = [Path(substitute(path, values)) for path in game.start.requires if not path.startswith("{{config}}/")]
    return any(shutil.which(program) for program in game.start.programs) and all(path.exists() for path in paths)


def _saves(settings: Settings) -> Finding:
    try:
        location = worker_wiring.save_location(settings)
        _, refusal = worker_wiring.open_save_store(settings)
    except OverworldError as error:
        return Finding(Severity.BAD, error.detail, "correct OVERWORLD_SAVE_STORE and its key")
    if refusal is not None:
        return Finding(Severity.BAD, "worlds cannot be saved", refusal.detail)
    try:
        asyncio.run(worker_wiring.reach_save_store(settings, _saved_server(settings), STORE_PATIENCE))
    except OverworldError as error:
        where = location.folder or f"{location.bucket} at {location.endpoint}"
        return Finding(Severity.BAD, f"cannot go to {where}: {error.detail}", "mend the store, or OVERWORLD_SAVE_STORE")
    if location.folder is None:
        return Finding(Severity.OK, f"go to {location.bucket} at {location.endpoint}")
    if location.folder.is_relative_to(settings.data_folder):
        return Finding(
            Severity.WARNING,
            f"go to {location.folder}, beside the worlds: they do not outlive its disk",
            "set OVERWORLD_SAVE_STORE to another disk or a bucket",
        )
    return Finding(Severity.OK, f"go to {location.folder}")


def _saved_server(settings: Settings) -> str | None:
    """A server that has a save; None if there is none, or nobody can tell."""
    from overworld.domain.saves import SaveState
    from overworld.store.saves import list_saves

    if settings.runs_embedded_database and not (settings.data_folder / "postgres").exists():
        return None
    try:
        with closing(wiring.open_database(settings, "doctor")) as database, database.transaction() as tx:
            newest = list_saves(tx, scope=None).items
    except OverworldError:
        return None
    return next((save.server_id for save in newest if save.state is SaveState.KEPT), None)


def _recovery(settings: Settings) -> Finding:
    from datetime import UTC, datetime

    from overworld.domain.recovery import Preparedness, derive_health
    from overworld.store.recovery import find_recovery

    if settings.runs_embedded_database and not (settings.data_folder / "postgres").exists():
        return Finding(Severity.WARNING, "there is nothing to bring back yet", "`overworld up` begins an installation")
    try:
        database = wiring.open_database(settings, "doctor")
        try:
            with database.transaction() as tx:
                health = derive_health(find_recovery(tx), settings.dump_every, datetime.now(UTC))
        finally:
            database.close()
    except OverworldError:
        return Finding(Severity.WARNING, "not looked at: the database does not answer", "see what `database` says")
    if health.state is Preparedness.READY:
        return Finding(Severity.OK, health.message)
    severity = Severity.BAD if health.state in {Preparedness.LATE, Preparedness.FENCED} else Severity.WARNING
    return Finding(severity, health.message, "docs/recovery.md says what to do")


def _isolation() -> Finding:
    if os.geteuid() != 0:
        return Finding(
            Severity.WARNING,
            "not run as root: all games run as this one user and can read each other's worlds",
            "run `overworld up` as root to give each server a user id of its own",
        )
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    has_limits = "memory" in controllers.read_text() if controllers.exists() else Path("/sys/fs/cgroup/memory").is_dir()
    if not has_limits:
        return Finding(
            Severity.WARNING, "this machine has no memory cgroup", "limits fall back to rlimits, which are coarser"
        )
    if not confinement.is_possible():
        return Finding(
            Severity.WARNING,
            "the kernel has no Landlock: nothing but care keeps a save from following a link out of a world",
            "use Linux 5.19 or newer with landlock among its security modules (lsm=landlock,... at boot)",
        )
    return Finding(Severity.OK, "each server has a user id and memory limit of its own")


def _ports(settings: Settings) -> Finding:
    free = 0
    for port in settings.ports:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
                free += 1
            except OSError:
                continue
    shown = f"{settings.ports[0]}-{settings.ports[-1]}"
    if free == 0:
        return Finding(Severity.BAD, f"no port of {shown} is free", "set OVERWORLD_PORT_RANGE wider")
    return Finding(Severity.OK, f"{free} of {len(settings.ports)} ports of {shown} are free")
