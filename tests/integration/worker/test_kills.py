"""Kill −9 of anything while worlds are saved and restored: no world lost, no lock stuck, no game left not saving."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from installation import Installation, folder_for_everybody, json_of
from integration.worker.saving import keep_last, needs_restic, newest_world, saving_installation, worlds
from s3 import S3
from waiting import wait_until

pytestmark = needs_restic

IS_LONG = bool(os.environ.get("OVERWORLD_SOAK"))
KILLS = 300 if IS_LONG else 30
SERVERS = 2
KEEP_LAST = 3
SETTLED_WITHIN_SECONDS = 1500 if IS_LONG else 420
"""A job whose program was killed four times pauses for 300 s. Others are many by then, and go one after another."""


class Owner:
    """Asks until there is an answer, and starts Overworld again where it was killed, as a service manager does."""

    def __init__(self, installation: Installation, s3: S3) -> None:
        self.installation = installation
        self.s3 = s3

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request, repeated under one key until there is an answer that is not a passing fault."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}

        def answered() -> httpx.Response | None:
            self.revive()
            try:
                with self.installation.api() as api:
                    response = api.request(method, path, headers=headers, **arguments)
            except (httpx.HTTPError, FileNotFoundError):
                return None
            still_running = response.status_code == 409 and "Retry-After" in response.headers
            return None if response.status_code >= 500 or still_running else response

        return wait_until(answered, 90, f"{method} {path} is answered\n{self.installation.last_log_lines()}")

    def revive(self) -> None:
        """Start what was killed."""
        up = self.installation.up
        if up is not None and up.poll() is not None:
            self.installation.start()

    def items(self, path: str, **params: str) -> list[dict[str, Any]]:
        """A list."""
        found: list[dict[str, Any]] = json_of(self.ask("GET", path, params={"page_size": "200", **params}))["items"]
        return found


@pytest.fixture
def owner() -> Iterator[Owner]:
    """The owner of an Overworld with nothing in it, whose saves go to a bucket."""
    with (
        folder_for_everybody() as folder,
        S3(folder / "s3") as s3,
        saving_installation(undo="600", **s3.settings()) as installation,
    ):
        yield Owner(installation, s3)


def restics(installation: Installation) -> list[psutil.Process]:
    """Every restic that works for it."""
    mark = str(installation.folder)
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "restic" and any(mark in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def victims(installation: Installation, what: str) -> list[psutil.Process]:
    """Who could be killed."""
    if what == "restic":
        return restics(installation)
    if what == "game":
        return installation.games()
    if what == "database":
        postgres = installation.postgres()
        return [] if postgres is None else [postgres]
    up = installation.up
    return [] if up is None or up.poll() is not None else [psutil.Process(up.pid)]


def pages_of(world: Path) -> set[str]:
    """What the pages of a diary say: one number if it was caught at a page's end."""
    return {page.read_text() for page in world.glob("page-*")}


def do_something(owner: Owner, chance: random.Random, server_id: str) -> None:
    """One random thing that has to do with saves."""
    kept = [each for each in owner.items(f"/servers/{server_id}/saves") if each["state"] == "kept"]
    what = chance.choice(["save", "save", "restore", "paths", "undo", "bounce"])
    if what in {"restore", "paths"} and kept:
        paths = ["page-3"] if what == "paths" else []
        body = {"save_id": chance.choice(kept)["id"], "paths": paths}
        assert owner.ask("POST", f"/servers/{server_id}/restore", json=body).status_code in {202, 409}
    elif what == "undo":
        assert owner.ask("POST", f"/servers/{server_id}/undo-restore").status_code in {202, 409}
    elif what == "bounce":
        assert owner.ask("POST", f"/servers/{server_id}/stop").status_code == 202
        assert owner.ask("POST", f"/servers/{server_id}/start").status_code == 202
    else:
        assert owner.ask("POST", f"/servers/{server_id}/saves", json={}).status_code in {202, 409}


@pytest.mark.timeout(6000 if IS_LONG else 1200)
def test_kills_at_any_moment(owner: Owner) -> None:
    """Afterwards every job has ended, every game runs on a whole world and writes, and saves, checks and retention go
    on as if nothing had happened."""
    seed = int(os.environ.get("OVERWORLD_SEED", random.randrange(2**32)))
    print(f"OVERWORLD_SEED={seed}")
    chance = random.Random(seed)
    servers = []
    for _ in range(SERVERS):
        given = {"name": f"d-{uuid.uuid4().hex[:8]}", "game": "diary"}
        servers.append(str(json_of(owner.ask("POST", "/servers", json=given))["id"]))
    for server_id in servers:
        assert owner.ask("PATCH", f"/servers/{server_id}/save-policy", json=keep_last(KEEP_LAST)).status_code == 200
        wait_until(lambda: is_running(owner, server_id), 60, "it runs")  # noqa: B023
        owner.ask("POST", f"/servers/{server_id}/saves", json={"label": "first"})
    for number in range(KILLS):
        for server_id in servers:
            do_something(owner, chance, server_id)
        time.sleep(chance.uniform(0, 1.5))  # the random moment itself
        what = chance.choice([*["restic"] * 5, *["up"] * 2, *["game"] * 2, "database", "store"])
        if what == "store":
            print(f"kill {number}: the store, which comes back at once")
            owner.s3.stop()
            owner.s3.start()
            continue
        for process in victims(owner.installation, what)[:1]:
            print(f"kill {number}: {what}")
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        owner.revive()
    for server_id in servers:
        owner.ask("POST", f"/servers/{server_id}/start")
        settle(owner, server_id)
        end_well(owner, server_id)


def is_running(owner: Owner, server_id: str) -> bool:
    """Whether players can join."""
    return bool(json_of(owner.ask("GET", f"/servers/{server_id}"))["state"] == "running")


def settle(owner: Owner, server_id: str) -> None:
    """Wait until nothing is under way."""

    def nothing_is_open() -> bool:
        operations = owner.items("/operations", server=server_id)
        seen[:] = [each for each in operations if each["outcome"] == "running"]
        return not seen and is_running(owner, server_id)

    seen: list[dict[str, Any]] = []
    try:
        wait_until(nothing_is_open, SETTLED_WITHIN_SECONDS, f"all of {server_id} has ended")
    finally:
        if seen or not is_running(owner, server_id):
            print(f"still open: {seen}; the server: {json_of(owner.ask('GET', f'/servers/{server_id}'))}")


def end_well(owner: Owner, server_id: str) -> None:
    """What must be true however it came about."""
    generation = max_used(owner, server_id)
    world = worlds(owner.installation, server_id)[generation]
    wait_until(lambda: not (world / "saving-is-off").exists(), 30, f"{server_id} writes again")
    taken = json_of(owner.ask("POST", f"/servers/{server_id}/saves", json={"label": "last"}))
    for operation in (taken, json_of(owner.ask("POST", f"/servers/{server_id}/check-saves"))):
        ended = wait_until(
            lambda: ended_of(owner, operation["id"]),  # noqa: B023
            120,
            f"{operation['kind']} ends",
        )
        assert ended["outcome"] == "succeeded", ended
    saves = owner.items(f"/servers/{server_id}/saves")
    kept = [each for each in saves if each["state"] == "kept"]
    asked = [each for each in kept if each["reason"] == "on_demand"]
    assert max(len(asked), len(kept) - len(asked)) <= KEEP_LAST
    assert not [each for each in saves if each["state"] == "running"]
    assert kept[0]["label"] == "last"
    assert kept[0]["quiet"] == "quieted"
    for each in kept:
        body = {"name": f"c-{uuid.uuid4().hex[:8]}"}
        cloned = json_of(owner.ask("POST", f"/saves/{each['id']}/clone", json=body))
        ended = wait_until(lambda: ended_of(owner, cloned["id"]), 120, "the clone is made")  # noqa: B023
        assert ended["outcome"] == "succeeded", ended
        if each["quiet"] != "unquieted":
            assert len(pages_of(newest_world(owner.installation, cloned["server_id"]))) == 1, each
    left = owner.installation.folder / "servers" / server_id / "world"
    assert not list(left.glob(".making-*"))


def ended_of(owner: Owner, operation_id: str) -> dict[str, Any] | None:
    """The operation, if it has ended."""
    seen: dict[str, Any] = json_of(owner.ask("GET", f"/operations/{operation_id}"))
    return seen if seen["outcome"] != "running" else None


def max_used(owner: Owner, server_id: str) -> int:
    """The generation on which the game runs: that in which its process is."""
    (place,) = {
        int(Path(process.cwd()).name)
        for process in owner.installation.games()
        if f"/{server_id}/world/" in process.cwd()
    }
    return place
