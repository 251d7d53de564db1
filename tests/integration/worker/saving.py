"""What tests of saves are made of: an installation with a real restic, and what a person would look at."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from disks import small_disk
from installation import Installation, folder_for_everybody, json_of
from overworld import wiring
from overworld.domain.errors import SaveStoreRefused
from overworld.domain.games import Protocol
from overworld.domain.servers import Endpoint
from overworld.games.catalogue import Catalogue
from overworld.games.query import probe
from overworld.saves.program import find_restic
from overworld.settings import Settings
from players import bot
from waiting import wait_until

CATALOGUE = Path(__file__).parents[2] / "games" / "catalogue"


def restic() -> Path | None:
    """A restic that is new enough, None if there is none here."""
    try:
        configured = os.environ.get("OVERWORLD_RESTIC")
        return find_restic(None if configured is None else Path(configured))
    except SaveStoreRefused:
        return None


needs_restic = pytest.mark.skipif(
    restic() is None and not os.environ.get("CI"), reason="NOT RUN: scripts/setup installs restic (CI requires it)"
)
needs_luanti = pytest.mark.skipif(
    not Path("/usr/lib/minetest/minetestserver").exists(), reason="apt-get install minetest-server"
)
needs_players = pytest.mark.skipif(not bot.INSTALLED, reason="npm ci in tests/players installs the players")


@contextmanager
def saving_installation(*, disk: str | None = None, **settings: str) -> Iterator[Installation]:
    """An Overworld whose schedules do nothing by themselves, with the scripted games and flying-squid. With ``disk``
    (``40m``) its worlds are on a disk of that size."""
    given = {
        "catalogue_folders": str(CATALOGUE),
        "programs_folder": str(bot.FOLDER),
        "restic": str(restic()),
        "save_schedule": "",
        "drills": "false",
        **settings,
    }
    with ExitStack() as stack:
        folder = stack.enter_context(folder_for_everybody())
        if disk is not None:
            stack.enter_context(small_disk(folder / "data" / "servers", disk))
        yield stack.enter_context(Installation(folder / "data", **given))


def create(api: httpx.Client, game: str, *, start: bool = True, **more: object) -> str:
    """A new server's id, once it runs, or is there and does not."""
    given = {"name": f"{game}-{os.urandom(3).hex()}", "game": game, "start": start, **more}
    server_id = str(json_of(api.post("/servers", json=given))["id"])
    until_state(api, server_id, "running" if start else "stopped")
    return server_id


def show(api: httpx.Client, server_id: str) -> dict[str, Any]:
    """The server."""
    found: dict[str, Any] = json_of(api.get(f"/servers/{server_id}"))
    return found


def until_state(api: httpx.Client, server_id: str, state: str) -> dict[str, Any]:
    """The server, once it is in that state."""

    def look() -> dict[str, Any] | None:
        server = show(api, server_id)
        return server if server["state"] == state else None

    return wait_until(look, 60, f"{server_id} is {state}, not {api.get(f'/servers/{server_id}').text}")


def until_ended(api: httpx.Client, operation: dict[str, Any], seconds: float = 90) -> dict[str, Any]:
    """The operation, once it has ended."""

    def look() -> dict[str, Any] | None:
        seen: dict[str, Any] = json_of(api.get(f"/operations/{operation['id']}"))
        return seen if seen["outcome"] != "running" else None

    return wait_until(look, seconds, f"{operation['kind']} ends: {api.get('/operations/' + operation['id']).text}")


def succeed(api: httpx.Client, response: httpx.Response, seconds: float = 90) -> dict[str, Any]:
    """The operation that was asked for, once it has succeeded."""
    ended = until_ended(api, json_of(response), seconds)
    assert ended["outcome"] == "succeeded", ended
    return ended


def save(api: httpx.Client, server_id: str, **given: object) -> dict[str, Any]:
    """A save taken now, as it is listed."""
    before = {each["id"] for each in saves(api, server_id)}
    succeed(api, api.post(f"/servers/{server_id}/saves", json=given))
    (new,) = [each for each in saves(api, server_id) if each["id"] not in before and each["reason"] == "on_demand"]
    return new


def saves(api: httpx.Client, server_id: str) -> list[dict[str, Any]]:
    """The server's saves, newest first."""
    found: list[dict[str, Any]] = json_of(api.get(f"/servers/{server_id}/saves"))["items"]
    return found


def protection(api: httpx.Client, server_id: str) -> dict[str, Any]:
    """What the server says of its saves; nothing as long as nothing was saved."""
    return next((each for each in show(api, server_id)["conditions"] if each["type"] == "Protected"), {})


def answers(server: dict[str, Any]) -> None:
    """The game shakes hands where its players look for it, else QueryFailed."""
    game = Catalogue.load(()).find(server["game"])
    assert game is not None
    (endpoint,) = server["endpoints"]
    address = Endpoint(endpoint["name"], Protocol(endpoint["protocol"]), endpoint["host"], endpoint["port"])
    asyncio.run(probe(game, (address,), 10))


def keep_last(count: int) -> dict[str, int]:
    """A policy under which retention has much to do."""
    return {"keep_last": count, "keep_hourly": 0, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}


def events(api: httpx.Client, server_id: str) -> list[str]:
    """Reasons of the server's events, newest first."""
    return [each["reason"] for each in json_of(api.get(f"/servers/{server_id}/events"))["items"]]


def worlds(installation: Installation, server_id: str) -> dict[int, Path]:
    """The generations of the world that are on the disk."""
    folder = installation.folder / "servers" / server_id / "world"
    return {int(each.name): each for each in folder.iterdir() if each.name.isdecimal()}


def newest_world(installation: Installation, server_id: str) -> Path:
    """The last of them."""
    found = worlds(installation, server_id)
    return found[max(found)]


def database_of(installation: Installation) -> psycopg.Connection:
    """A connection to its database; what a ``with`` block writes is kept."""
    return psycopg.connect(wiring.database_url(Settings(data_folder=installation.folder)))


def quick_check(database: Path, scratch: Path) -> str:
    """What SQLite says of a copy of the database and all that belongs to it."""
    for path in database.parent.glob(f"{database.name}*"):
        shutil.copy(path, scratch / path.name)
    return str(rows_of(scratch / database.name, "PRAGMA quick_check")[0][0])


def rows_of(database: Path, question: str) -> list[tuple[Any, ...]]:
    """What a database answers, which is not made if it is not there: then sqlite3.OperationalError."""
    with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True)) as connection:
        return connection.execute(question).fetchall()
