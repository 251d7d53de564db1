"""Kill −9 of anything at any moment: what the owners asked for last is what is, and no world is lost."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from installation import Installation, folder_for_everybody
from overworld import wiring
from overworld.settings import Settings
from waiting import wait_until

KILLS = 300 if os.environ.get("OVERWORLD_SOAK") else 30
SERVERS = 4
SETTLED_WITHIN_SECONDS = 90.0
CATALOGUE = Path(__file__).parents[2] / "games" / "catalogue"

FINAL_STATE = {"running": "running", "stopped": "stopped", "deleted": "deleted"}


class Owner:
    """An owner who asks again until he is answered, and remembers the last thing that he was promised."""

    def __init__(self, installation: Installation, chance: random.Random) -> None:
        self.installation = installation
        self.chance = chance
        self.wishes: dict[str, str] = {}  # server id → running | stopped | deleted | purged
        self.journals: dict[str, int] = {}  # server id → the longest journal ever seen

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request, repeated under one idempotency key until there is an answer that is not a passing fault."""
        key = str(uuid.uuid4())
        headers = {"Idempotency-Key": key} if method == "POST" else {}

        def answered() -> httpx.Response | None:
            try:
                with self.installation.api() as api:
                    response = api.request(method, path, headers=headers, **arguments)
            except (httpx.HTTPError, FileNotFoundError):
                self.revive()
                return None
            still_running = response.status_code == 409 and "Retry-After" in response.headers
            return None if response.status_code >= 500 or still_running else response

        return wait_until(answered, 60, f"{method} {path} is answered\n{self.installation.last_log_lines()}")

    def revive(self) -> None:
        """Do what a service manager does when ``overworld up`` was killed."""
        up = self.installation.up
        if up is not None and up.poll() is not None:
            self.installation.start()

    def create(self) -> None:
        """Ask for one more server."""
        name = f"s-{uuid.uuid4().hex[:8]}"
        response = self.ask("POST", "/servers", json={"name": name, "game": "journal"})
        assert response.status_code == 201, response.text
        self.wishes[response.json()["id"]] = "running"

    def change_something(self) -> None:
        """One random wish for one random server."""
        living = [server_id for server_id, wish in self.wishes.items() if wish != "purged"]
        if len(living) < SERVERS:
            self.create()
            return
        server_id = self.chance.choice(living)
        if self.wishes[server_id] == "deleted":
            assert self.ask("POST", f"/servers/{server_id}/undelete").status_code == 202
            self.wishes[server_id] = "stopped"
            return
        wish = self.chance.choice(["start", "start", "stop", "restart", "delete", "purge", "edit"])
        if wish == "edit":
            response = self.ask("PATCH", f"/servers/{server_id}", json={"name": f"e-{uuid.uuid4().hex[:8]}"})
            assert response.status_code == 200, response.text
        elif wish in {"delete", "purge"}:
            seconds = 0 if wish == "purge" else 3600
            response = self.ask("DELETE", f"/servers/{server_id}", params={"retention_seconds": seconds})
            # 404: the first request was carried out, its answer lost, and the server is gone already.
            assert response.status_code in ({202, 404} if wish == "purge" else {202}), response.text
            self.wishes[server_id] = "purged" if wish == "purge" else "deleted"
        else:
            response = self.ask("POST", f"/servers/{server_id}/{wish}")
            assert response.status_code == 202, response.text
            self.wishes[server_id] = "stopped" if wish == "stop" else "running"

    def look_at_worlds(self) -> None:
        """Fail if a world was shared, damaged, or went back in time."""
        for server_id, wish in self.wishes.items():
            world = self.installation.folder / "servers" / server_id / "world" / "1"
            if wish == "purged" or not world.exists():
                continue
            assert not (world / "two-at-once").exists(), f"two games on the world of {server_id}"
            assert not (world / "damaged").exists(), f"the world of {server_id} is damaged"
            journal = world / "journal"
            length = journal.read_text().count("\n") if journal.exists() else 0
            assert length >= self.journals.get(server_id, 0), f"the world of {server_id} lost starts"
            self.journals[server_id] = length


def kill_something(installation: Installation, chance: random.Random) -> str:
    """SIGKILL one process of the installation; says which."""
    victims: dict[str, Callable[[], list[psutil.Process]]] = {
        "up": lambda: [psutil.Process(installation.up.pid)] if installation.up else [],
        "web": lambda: [p] if (p := installation.web()) else [],
        "postgres": lambda: [p] if (p := installation.postgres()) else [],
        "keeper": installation.keepers,
        "game": installation.games,
    }
    kind = chance.choice(list(victims))
    processes = victims[kind]()
    if not processes:
        return f"{kind} (none there)"
    victim = chance.choice(processes)
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        return f"{kind} (gone already)"
    if kind == "up" and installation.up is not None:
        installation.up.wait(10)
    return f"{kind} {victim.pid}"


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An Overworld that offers the journal game."""
    with (
        folder_for_everybody() as folder,
        Installation(folder / "data", catalogue_folders=str(CATALOGUE), quota_servers="1000") as it,
    ):
        yield it


@pytest.mark.timeout(3000 if KILLS > 30 else 600)
def test_kills_at_random_moments_lose_nothing(installation: Installation) -> None:
    """After every kind of kill, every server ends as its owner last asked, and nothing is left over."""
    seed = int(os.environ.get("OVERWORLD_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"OVERWORLD_CHAOS_SEED={seed}")
    chance = random.Random(seed)
    owner = Owner(installation, chance)
    for _ in range(SERVERS):
        owner.create()
    for number in range(1, KILLS + 1):
        for _ in range(chance.randrange(3)):
            owner.change_something()
        time.sleep(chance.random() * 0.3)  # the random moment itself, not a wait for something
        print(f"kill {number}: {kill_something(installation, chance)}", flush=True)
        owner.revive()
        owner.look_at_worlds()
    assert_settled_as_asked(installation, owner)
    assert_games_survive_a_restart(installation, owner)
    assert_nothing_is_left_after_purging_all(installation, owner)


def assert_settled_as_asked(installation: Installation, owner: Owner) -> None:
    """Every server is what its owner was last promised; no operation is open; one process a running server."""

    def unsettled() -> list[str]:
        wrong = []
        for server_id, wish in owner.wishes.items():
            response = owner.ask("GET", f"/servers/{server_id}")
            if wish == "purged":
                if response.status_code != 404:
                    wrong.append(f"{server_id} should be gone: {response.json()['state']}")
            elif response.json()["state"] != FINAL_STATE[wish]:
                wrong.append(f"{server_id} should be {wish}: {response.json()['conditions']}")
        open_operations = [
            o for o in owner.ask("GET", "/operations?page_size=200").json()["items"] if o["outcome"] == "running"
        ]
        return wrong + [f"open operation {operation}" for operation in open_operations]

    last: list[str] = []

    def settled() -> bool:
        last[:] = unsettled()
        return not last

    try:
        wait_until(settled, SETTLED_WITHIN_SECONDS, "everything settles")
    except AssertionError as error:
        raise AssertionError(f"{error}\n" + "\n".join(last)) from None
    owner.look_at_worlds()
    running = sorted(server_id for server_id, wish in owner.wishes.items() if wish == "running")

    def worlds_played() -> list[str]:
        return sorted(Path(game.cwd()).parts[-3] for game in installation.games())

    wait_until(lambda: worlds_played() == running, 10, f"one game for each of {running}")
    wait_until(lambda: len(installation.keepers()) == len(running), 10, "one keeper for each game")


def assert_games_survive_a_restart(installation: Installation, owner: Owner) -> None:
    """A clean end of ``overworld up`` leaves the games running, and the next one adopts the very same processes."""
    before = sorted(game.pid for game in installation.games())
    assert installation.stop() == 0
    assert sorted(game.pid for game in installation.games()) == before
    installation.start()
    assert_settled_as_asked(installation, owner)
    assert sorted(game.pid for game in installation.games()) == before


def assert_nothing_is_left_after_purging_all(installation: Installation, owner: Owner) -> None:
    """No process, port, lease, folder or row is left of servers that were purged."""
    for server_id, wish in owner.wishes.items():
        if wish != "purged":
            owner.ask("DELETE", f"/servers/{server_id}", params={"retention_seconds": 0})
            owner.wishes[server_id] = "purged"
    assert_settled_as_asked(installation, owner)
    assert [path.name for path in (installation.folder / "servers").iterdir()] == [".first-uid"] * (os.geteuid() == 0)
    settings = Settings(data_folder=installation.folder)
    url = wiring.database_url(settings).replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url) as connection:
        for table in ("server", "server_status", "server_activity", "port_lease", "retired_world"):
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert row == (0,), f"rows left in {table}"
    assert installation.stop() == 0
    wait_until(lambda: not installation.processes(), 10, "no process is left")
