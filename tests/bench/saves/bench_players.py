"""How long a player waits at most while the world is saved, at 1.3 and at 5 GiB with the same changes before each
save: a Minecraft in which somebody digs without a pause, a whole Overworld, and an S3 server on loopback."""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.figures import report
from bench.saves.bench_saves import ROUNDS, change_world, make_world, sync
from bench.saves.bench_silence import SECONDS, SIZES
from integration.worker.saving import create, saves, saving_installation, show, succeed, worlds
from players.bot import Bot, Place
from s3 import S3

WITHOUT_A_SAVE_SECONDS = 20


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, S3(Path(name) / "s3") as s3:
        for size, regions in SIZES.items():
            with saving_installation(**s3.settings()) as installation, installation.api() as api:
                server_id = create(api, "minecraft")
                # Beside what the game has loaded: land that nobody is near.
                land = worlds(installation, server_id)[1] / "land"
                chance = random.Random(20261126)
                make_world(land, chance, regions=regions)
                sync(land)
                with Bot("Ada", port=show(api, server_id)["endpoints"][0]["port"]) as digger:
                    digger.join()
                    measure(api, server_id, digger, land, chance, size)


def fields(digger: Bot) -> Iterator[list[Place]]:
    """Places over many columns, always others: each has to be as it was made."""
    _, (x, y, z) = digger.look()
    for shift in itertools.count(1):
        yield [(x + step + shift, y, z + other) for step in range(0, 60, 9) for other in range(0, 60, 9)]


def measure(api: httpx.Client, server_id: str, digger: Bot, land: Path, chance: random.Random, size: str) -> None:
    """One world: without a save, then during saves."""
    others = fields(digger)
    digger.work(next(others))
    time.sleep(WITHOUT_A_SAVE_SECONDS)
    report(f"saves: {size}, no save: a player waits at most", digger.rest_and_tell(), "ms")
    longest, off = [], []
    for _ in range(ROUNDS + 1):
        digger.work(next(others))
        succeed(api, api.post(f"/servers/{server_id}/saves", json={}), SECONDS)
        longest.append(digger.rest_and_tell())
        off.append(saves(api, server_id)[0]["off_seconds"])
        change_world(land, chance)
    report(f"saves: {size}, the first save: a player waits at most", longest[0], "ms", "≤ 1000")
    report(f"saves: {size}, next saves: a player waits at most, median", statistics.median(longest[1:]), "ms", "≤ 1000")
    report(f"saves: {size}, Minecraft's saving is off for, longest", max(off), "s", "≤ 3")


if __name__ == "__main__":
    main()
