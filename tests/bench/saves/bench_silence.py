"""How long a running game does not write while it is saved, at 1.3 and at 5 GiB with the same changes before each save:
a whole Overworld, whose saves go to an S3 server on loopback, and the scripted game that keeps its diary."""

from __future__ import annotations

import random
import statistics
import tempfile
from pathlib import Path

from bench.figures import report
from bench.saves.bench_saves import REGIONS, ROUNDS, change_world, make_world, sync
from integration.worker.saving import create, saves, saving_installation, succeed, until_state, worlds
from s3 import S3

SIZES = {"1.3 GiB": REGIONS, "5 GiB": REGIONS * 4}
SECONDS = 1800.0


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, S3(Path(name) / "s3") as s3:
        for size, regions in SIZES.items():
            with saving_installation(**s3.settings()) as installation, installation.api() as api:
                server_id = create(api, "diary")
                until_state(api, server_id, "running")
                world = worlds(installation, server_id)[1]
                chance = random.Random(20261126)
                make_world(world, chance, regions=regions)
                sync(world)
                off: list[float] = []
                for _ in range(ROUNDS + 1):
                    succeed(api, api.post(f"/servers/{server_id}/saves", json={}), SECONDS)
                    off.append(saves(api, server_id)[0]["off_seconds"])
                    change_world(world, chance)
                report(f"saves: the first save of {size}, the game does not write for", off[0], "s", "≤ 3")
                next_ones = statistics.median(off[1:])
                report(f"saves: next saves of {size}, the game does not write for, median", next_ones, "s", "≤ 3")


if __name__ == "__main__":
    main()
