"""The whole product, as its user runs it: ``overworld up``, the CLI, the API, real games, and games that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from disks import grow_disk, small_disk
from installation import Installation, folder_for_everybody, json_of
from overworld.domain.games import Protocol
from overworld.domain.servers import Endpoint
from overworld.games.catalogue import Catalogue
from overworld.games.query import QueryFailed, probe
from waiting import wait_until

CATALOGUE = Path(__file__).parents[1] / "games" / "catalogue"


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One Overworld for the tests of this file, with the scripted games."""
    with folder_for_everybody() as folder, Installation(folder / "data", catalogue_folders=str(CATALOGUE)) as it:
        yield it


@pytest.fixture
def api(installation: Installation) -> Iterator[httpx.Client]:
    """The admin's client."""
    with installation.api() as client:
        yield client


def create(api: httpx.Client, game: str, **more: object) -> str:
    """A new server's id."""
    return str(
        json_of(api.post("/servers", json={"name": f"{game}-{os.urandom(3).hex()}", "game": game, **more}))["id"]
    )


def until_state(api: httpx.Client, server_id: str, state: str) -> dict[str, Any]:
    """The server, once it is in that state."""

    def look() -> dict[str, Any] | None:
        server: dict[str, Any] = json_of(api.get(f"/servers/{server_id}"))
        return server if server["state"] == state else None

    return wait_until(look, 30, f"{server_id} is {state}, not {api.get(f'/servers/{server_id}').text}")


def condition(server: dict[str, Any], kind: str) -> dict[str, str]:
    """One of its conditions."""
    return next(found for found in server["conditions"] if found["type"] == kind)


def test_from_nothing_to_a_game_that_answers_and_back(installation: Installation) -> None:
    """A person with a terminal: create, look, talk, stop with the world saved, delete, undelete, purge."""
    made = installation.overworld("create", "luanti", "meadow", "--output", "json")
    assert made.returncode == 0, made.stderr
    server = json.loads(installation.overworld("show", "meadow", "--output", "json").stdout)
    assert server["state"] == "running"
    (endpoint,) = server["endpoints"]
    address = (Endpoint(endpoint["name"], Protocol(endpoint["protocol"]), endpoint["host"], endpoint["port"]),)
    luanti = Catalogue.load(()).find("luanti")
    assert luanti is not None
    asyncio.run(probe(luanti, address, 5))
    assert "listening on" in installation.overworld("logs", "meadow").stdout
    assert "meadow" in installation.overworld("list").stdout
    stopped = installation.overworld("stop", "meadow")
    assert stopped.returncode == 0, stopped.stderr
    server = json.loads(installation.overworld("show", "meadow", "--output", "json").stdout)
    assert server["state"] == "stopped"
    assert condition(server, "Saved")["reason"] == "SaveSeen"
    with pytest.raises(QueryFailed):
        asyncio.run(probe(luanti, address, 1))
    assert installation.overworld("delete", "meadow", "--yes").returncode == 0
    assert "meadow" not in installation.overworld("list").stdout
    assert installation.overworld("undelete", server["id"]).returncode == 0
    assert installation.overworld("start", "meadow").returncode == 0
    again = json.loads(installation.overworld("show", "meadow", "--output", "json").stdout)
    assert again["endpoints"] == server["endpoints"]
    asyncio.run(probe(luanti, address, 5))
    with installation.api() as api:
        json_of(api.delete(f"/servers/{server['id']}", params={"retention_seconds": 0}))
        wait_until(lambda: api.get(f"/servers/{server['id']}").status_code == 404, 30, "it is purged")
    assert not (installation.folder / "servers" / server["id"]).exists()


def test_a_game_that_dies_at_once_says_so_and_keeps_its_last_words(api: httpx.Client) -> None:
    """The owner reads how it ended, what it said, and when it is tried again; a stop ends the trying."""
    server_id = create(api, "dies-at-once")
    server = until_state(api, server_id, "failed")
    ready = condition(server, "Ready")
    assert ready["reason"] == "Crashed"
    assert "3" in ready["message"]
    assert "cannot open the map" in ready["message"]
    operation = json_of(api.get("/operations", params={"server": server_id}))["items"][0]
    assert operation["outcome"] == "failed"
    json_of(api.post(f"/servers/{server_id}/stop"))
    until_state(api, server_id, "stopped")


def test_a_game_that_takes_too_much_memory_is_told_as_such(api: httpx.Client) -> None:
    """Out of memory is not just any crash: the owner is told what to give it."""
    server_id = create(api, "memory-hog")

    def killed() -> dict[str, Any] | None:
        server: dict[str, Any] = json_of(api.get(f"/servers/{server_id}"))
        return server if condition(server, "Ready")["reason"] == "OutOfMemory" else None

    wait_until(lambda: json_of(api.get(f"/servers/{server_id}"))["conditions"], 10, "it is seen")
    server = wait_until(killed, 60, "it is out of memory")
    assert "64 MiB" in condition(server, "Ready")["message"]
    json_of(api.post(f"/servers/{server_id}/stop"))
    until_state(api, server_id, "stopped")


def test_a_game_that_ignores_its_stop_is_killed_and_its_save_not_claimed(api: httpx.Client) -> None:
    """After its grace time it is ended, and nobody is told that the world was saved."""
    server_id = create(api, "ignores-stop")
    until_state(api, server_id, "running")
    json_of(api.post(f"/servers/{server_id}/stop"))
    server = until_state(api, server_id, "stopped")
    assert condition(server, "Saved")["reason"] == "SaveNotSeen"


def test_a_game_that_floods_its_console_disturbs_nobody(api: httpx.Client, installation: Installation) -> None:
    """Its log stays small, its owner is told of dropped lines, and it still stops with its world saved."""
    server_id = create(api, "floods")
    until_state(api, server_id, "running")
    lines = json_of(api.get(f"/servers/{server_id}/console"))["lines"]
    assert len(lines) == 200
    json_of(api.post(f"/servers/{server_id}/stop"))
    assert condition(until_state(api, server_id, "stopped"), "Saved")["reason"] == "SaveSeen"
    run = installation.folder / "servers" / server_id / "run"
    assert sum(file.stat().st_size for file in run.glob("console.log*")) < 8 * 2**20


def test_it_may_open_many_files(installation: Installation) -> None:
    """More than a shell usually lets a program: as many as this machine allows, within reason."""
    assert installation.up is not None
    soft, hard = psutil.Process(installation.up.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft >= min(hard, 65536)


def test_a_port_taken_by_somebody_else_is_named_and_waited_for(api: httpx.Client) -> None:
    """The address stays the server's own: it is not given another one, and starts by itself when the port is free."""
    server_id = create(api, "good")
    port = until_state(api, server_id, "running")["endpoints"][0]["port"]
    json_of(api.post(f"/servers/{server_id}/stop"))
    until_state(api, server_id, "stopped")
    with socket.create_server(("0.0.0.0", port)):
        json_of(api.post(f"/servers/{server_id}/start"))
        placed = condition(until_state(api, server_id, "failed"), "Placed")
        assert placed["reason"] == "PortTaken"
        assert str(port) in placed["message"]
    server = wait_until(
        lambda: (it := json_of(api.get(f"/servers/{server_id}")))["state"] == "running" and it, 60, "it starts"
    )
    assert server["endpoints"][0]["port"] == port


def test_a_missing_program_says_what_to_install(tmp_path: Path) -> None:
    """The owner reads which program, the operator how to get it."""
    text = (CATALOGUE / "good.toml").read_text().replace("/usr/bin/python3", "/nowhere/game")
    with folder_for_everybody() as folder:
        (folder / "games").mkdir()
        (folder / "games" / "absent.toml").write_text(text)
        with (
            Installation(folder / "data", catalogue_folders=str(folder / "games")) as it,
            it.api() as api,
        ):
            placed = condition(until_state(api, create(api, "absent"), "failed"), "Placed")
            assert placed["reason"] == "ProgramMissing"
            assert "/nowhere/game" in placed["message"]
            assert "Debian's python3" in placed["message"]


def test_a_full_disk_is_said_and_the_server_starts_when_there_is_room() -> None:
    """Nothing is half made: the condition says how much is missing, and room makes it start by itself."""
    with folder_for_everybody() as folder:
        servers = folder / "data" / "servers"
        servers.mkdir(parents=True)
        servers.parent.chmod(0o711)
        with (
            small_disk(servers, "16m"),
            Installation(folder / "data", catalogue_folders=str(CATALOGUE)) as it,
            it.api() as api,
        ):
            server_id = create(api, "good")
            placed = condition(until_state(api, server_id, "failed"), "Placed")
            assert placed["reason"] == "DiskFull"
            assert "MiB" in placed["message"]
            grow_disk(servers, "512m")
            wait_until(
                lambda: json_of(api.get(f"/servers/{server_id}"))["state"] == "running", 60, "it starts by itself"
            )
            json_of(api.delete(f"/servers/{server_id}", params={"retention_seconds": 0}))
            wait_until(lambda: api.get(f"/servers/{server_id}").status_code == 404, 30, "it is purged")
