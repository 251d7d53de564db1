"""What a create costs: from the request to the start of the game's process, beside a bare script's start."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path

import httpx

from bench.figures import report
from installation import Installation, folder_for_everybody, json_of
from waiting import wait_until

CREATES = 200
GAMES = Path(__file__).parent / "games"


def main() -> None:
    """Measure and report."""
    with (
        folder_for_everybody() as folder,
        Installation(folder / "data", catalogue_folders=str(GAMES), log_level="warning") as it,
        it.api() as api,
    ):
        create(it, api, 0)  # the first one warms up what is loaded only once
        ours = [create(it, api, number) for number in range(1, CREATES + 1)]
    bare = [start_bare() for _ in range(CREATES)]
    floor = statistics.median(bare)
    added = sorted(taken - floor for taken in ours)
    report("a bare script's start of the same process, median", floor, "ms")
    report("create: request to game process started, median", statistics.median(ours), "ms")
    report("the same minus the bare start, median", statistics.median(added), "ms", "≤ 100")
    report("the same minus the bare start, p99", added[round(len(added) * 0.99) - 1], "ms", "≤ 400")


def create(it: Installation, api: httpx.Client, number: int) -> float:
    """Milliseconds from the request of one server to the start of its process; the server is purged again."""
    asked_at = time.monotonic_ns()
    server_id = json_of(api.post("/servers", json={"name": f"bench-{number}", "game": "stopwatch"}))["id"]
    started_at = wait_until(lambda: read_started(it.folder / "servers" / server_id / "world" / "1"), 20, "it starts")
    json_of(api.delete(f"/servers/{server_id}", params={"retention_seconds": 0}))
    wait_until(lambda: api.get(f"/servers/{server_id}").status_code == 404, 20, "it is purged")
    return (started_at - asked_at) / 1e6


def read_started(world: Path) -> int | None:
    """What the stopwatch wrote down, once it is whole."""
    file = world / "started"
    text = file.read_text() if file.exists() else ""
    return int(text) if text.endswith("\n") else None


def start_bare() -> float:
    """Milliseconds that a script needs to start the same process in an empty folder."""
    start = tomllib.loads((GAMES / "stopwatch.toml").read_text())["start"]
    with tempfile.TemporaryDirectory() as world:
        asked_at = time.monotonic_ns()
        game = subprocess.Popen(
            [start["programs"][0], *start["arguments"]], cwd=world, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with game:
            started_at = wait_until(lambda: read_started(Path(world)), 20, "it starts")
            game.kill()
        return (started_at - asked_at) / 1e6


if __name__ == "__main__":
    main()
