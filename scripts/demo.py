"""``make demo``: the main job, as a user would do it, against a real Overworld on this machine.

Starts ``overworld up``, asks its API for a Luanti server, waits until the game itself answers a handshake on its
address, and shows it. Interactive: stays until Ctrl-C. Unattended (CI set): proves, prints, stops. Either way it ends
with every game stopped, its world saved, and nothing left running; the next run finds the same server and world.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console

from overworld.domain.servers import Endpoint
from overworld.games.catalogue import Catalogue
from overworld.games.query import QueryFailed, probe
from overworld.settings import Settings

SERVER_NAME = "demo"
GAME = "luanti"
START_WITHIN_SECONDS = 120.0
STOP_WITHIN_SECONDS = 120.0

console = Console(highlight=False)


class DemoFailed(Exception):
    """The main job did not work; the sentence says where."""


def main() -> int:
    """Run the demo; 0 if everything it promises was seen."""
    status = run(demo_environment())
    if status == 0:
        step("Done", "the next `make demo` finds this server and its world again")
    return status


def run(environment: dict[str, str]) -> int:
    """Start Overworld in that environment, prove the main job, stay unless CI is set, and end it; 0 if all was well."""
    unattended = bool(os.environ.get("CI"))
    settings_of_demo = Settings(
        data_folder=Path(environment["OVERWORLD_DATA_FOLDER"]), listen_port=int(environment["OVERWORLD_LISTEN_PORT"])
    )
    step("Starting Overworld", f"data in {settings_of_demo.data_folder}")
    # Its own session, so that a Ctrl-C reaches it once, from us.
    overworld = subprocess.Popen(
        [sys.executable, "-m", "overworld", "up", "--stop-games"], env=environment, start_new_session=True
    )
    interrupted = catch_interrupts()
    status = 1
    try:
        prove(overworld, settings_of_demo, interrupted)
        if not unattended:
            console.print("\n[bold]It stays until Ctrl-C[/bold], which stops everything with the world saved.")
            while not interrupted:
                if overworld.poll() is not None:
                    raise DemoFailed(f"overworld up ended with status {overworld.returncode}")
                time.sleep(0.2)
        status = 0
    except Interrupted:
        status = 130
    except (DemoFailed, httpx.HTTPError, OSError) as error:
        console.print(f"[red]The demo failed:[/red] {error}")
    finally:
        status = stop(overworld) or status
    return status


def stop(overworld: subprocess.Popen[bytes]) -> int:
    """End it and say how: 0 if all is well, or if it ended by itself, which was told already."""
    if overworld.poll() is not None:
        return 0
    step("Stopping", "every game saves its world")
    overworld.send_signal(signal.SIGTERM)
    try:
        ended = overworld.wait(STOP_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        overworld.kill()
        ended = overworld.wait()
    if ended in {0, -signal.SIGTERM}:  # a signal that comes before it has begun ends it as it is
        return 0
    console.print(f"[red]overworld up ended with status {ended}[/red]")
    return 1


class Interrupted(Exception):
    """Ctrl-C during the proof."""


def catch_interrupts() -> list[int]:
    """A list that is empty until the first Ctrl-C or SIGTERM."""
    seen: list[int] = []

    def note(number: int, _frame: object) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, note)
    return seen


def demo_environment() -> dict[str, str]:
    """The environment of the demo's Overworld: a folder and a port apart from any real installation's."""
    environment = dict(os.environ)
    settings = Settings()
    environment.setdefault("OVERWORLD_DATA_FOLDER", f"{settings.data_folder}-demo")
    environment.setdefault("OVERWORLD_LOG_LEVEL", "warning")
    environment.setdefault("OVERWORLD_LISTEN_PORT", str(a_free_port(settings.listen_port)))
    return environment


def a_free_port(preferred: int) -> int:
    """The preferred port if nobody listens there, else one that the system gives."""
    for port in (preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise DemoFailed("no free TCP port on 127.0.0.1")


def step(title: str, detail: str) -> None:
    """One line of what happens."""
    console.print(f"[bold cyan]▸ {title}[/bold cyan] [dim]{detail}[/dim]", soft_wrap=True)


def prove(overworld: subprocess.Popen[bytes], settings: Settings, interrupted: list[int]) -> None:
    """The whole path: API, server, handshake, who plays, how to connect. Raises DemoFailed where it breaks."""
    url = settings.local_url
    began = time.monotonic()

    def until(look: object, what: str) -> object:
        while True:
            if interrupted:
                raise Interrupted
            if overworld.poll() is not None:
                raise DemoFailed(f"overworld up ended with status {overworld.returncode}; its last lines are above")
            if value := look():  # type: ignore[operator]
                return value
            if time.monotonic() - began > START_WITHIN_SECONDS:
                raise DemoFailed(f"not within {START_WITHIN_SECONDS:.0f} s: {what}")
            time.sleep(0.05)

    until(lambda: is_ready(url), "the API answers")
    token = (settings.data_folder / "admin-token").read_text().strip()
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=10) as api:
        step("Overworld is up", f"{time.monotonic() - began:.1f} s")
        asked = time.monotonic()
        server = find_or_create(api)
        server_id = server["id"]

        def running() -> object:
            nonlocal server
            server = get(api, f"/servers/{server_id}")
            if server["state"] == "failed":
                raise DemoFailed(" ".join(c["message"] for c in server["conditions"] if c["status"] == "False"))
            return server["state"] == "running"

        until(running, "the server runs")
        endpoints = tuple(Endpoint(e["name"], e["protocol"], e["host"], e["port"]) for e in server["endpoints"])
        until(lambda: handshake(endpoints), "the game answers a handshake on its address")
        step("The game answers a handshake", f"{time.monotonic() - asked:.1f} s after it was asked for")
        until(lambda: (get(api, f"/servers/{server_id}")["activity"] or {}).get("memory_mib"), "activity is seen")
        show(get(api, f"/servers/{server_id}"), url, settings)


def is_ready(url: str) -> bool:
    """Whether the API and its database answer."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def get(api: httpx.Client, path: str) -> dict:  # type: ignore[type-arg]
    """A JSON object of the API; raises DemoFailed with its problem."""
    return answer(api.get(path))


def answer(response: httpx.Response) -> dict:  # type: ignore[type-arg]
    """The JSON object of a response; raises DemoFailed with its problem."""
    body: dict = response.json()  # type: ignore[type-arg]
    if response.is_error:
        raise DemoFailed(f"{response.request.method} {response.request.url.path}: {body.get('detail', body)}")
    return body


def find_or_create(api: httpx.Client) -> dict:  # type: ignore[type-arg]
    """The server of an earlier run, started, or a new one."""
    found = get(api, f"/servers?name={SERVER_NAME}")["items"]
    same = [server for server in found if server["name"] == SERVER_NAME]
    if same:
        step("Found the server of an earlier run", f"created {same[0]['created_at']}, its world is kept")
        if same[0]["desired"] != "running":
            answer(api.post(f"/servers/{same[0]['id']}/start"))
        return dict(same[0])
    step("Asking the API for a server", f"POST /api/v1/servers game={GAME}")
    return answer(api.post("/servers", json={"name": SERVER_NAME, "game": GAME}))


def handshake(endpoints: tuple[Endpoint, ...]) -> bool:
    """Whether the game itself answers on its address."""
    game = Catalogue.load(()).find(GAME)
    if game is None:
        raise DemoFailed(f"the catalogue has no game {GAME}")
    try:
        asyncio.run(probe(game, endpoints, timeout=2))
    except QueryFailed:
        return False
    return True


def show(server: dict, url: str, settings: Settings) -> None:  # type: ignore[type-arg]
    """What a user wants to know."""
    activity = server["activity"]
    players = "unknown" if activity["players"] is None else str(activity["players"])
    cpu = activity["cpu_percent"]
    rows = {
        "server": f"{server['name']} ({server['id']}), {server['game']}, {server['state']}",
        "players": f"{players} ({activity['presence']}) {', '.join(activity['names'])}",
        "uses": f"{activity['memory_mib']:.0f} of {server['memory_mib']} MiB"
        + ("" if cpu is None else f", {cpu:.0f} % of a core"),
        "connect": server["connect"],
        "API": f"{url}/api/v1   pages: {url}/docs",
        "token": f"{(settings.data_folder / 'admin-token').read_text().strip()}",
        "try": f"OVERWORLD_DATA_FOLDER={settings.data_folder} OVERWORLD_LISTEN_PORT={settings.listen_port} "
        ".venv/bin/overworld list",
    }
    console.print()
    for label, text in rows.items():
        console.print(f"  [bold]{label:<8}[/bold] {text}", soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
