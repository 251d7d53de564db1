"""``overworld up``: how soon it is ready on a second run, and the memory of everything that it runs."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from bench.figures import report
from installation import Installation, folder_for_everybody, json_of
from waiting import wait_until

GAMES = Path(__file__).parent / "games"
MIB = 2**20


def main() -> None:
    """Measure and report."""
    with (
        folder_for_everybody() as folder,
        Installation(folder / "data", catalogue_folders=str(GAMES), log_level="warning") as it,
    ):
        assert it.stop() == 0
        began = time.monotonic()
        it.start()
        report("overworld up, second run: ready", time.monotonic() - began, "s", "≤ 5")
        with it.api() as api:
            server_id = json_of(api.post("/servers", json={"name": "bench", "game": "stopwatch"}))["id"]
            wait_until(lambda: json_of(api.get(f"/servers/{server_id}"))["state"] == "running", 20, "it runs")
        assert it.up is not None
        up = psutil.Process(it.up.pid)
        web, postgres = it.web(), it.postgres()
        assert web is not None
        assert postgres is not None
        parts = {"controller and monitor": [up], "web": tree(web), "PostgreSQL": tree(postgres)}
        sizes = {name: sum(proportional_mib(process) for process in processes) for name, processes in parts.items()}
        for name, mib in sizes.items():
            report(f"overworld up, memory of {name}", mib, "MiB")
        report("overworld up, memory of all three", sum(sizes.values()), "MiB", "< 400")
        (keeper,) = it.keepers()
        report("a keeper, resident", keeper.memory_info().rss / MIB, "MiB", "< 12")


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all below it."""
    return [process, *process.children(recursive=True)]


def proportional_mib(process: psutil.Process) -> float:
    """Its memory, with pages that several processes share divided between them (PSS, proc(5))."""
    return float(process.memory_full_info().pss) / MIB


if __name__ == "__main__":
    main()
