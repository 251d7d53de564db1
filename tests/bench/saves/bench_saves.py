"""Saves of a made-up Minecraft-like world of 1.3 GiB, against tar + gzip to the same store, as panels do it.

The store is rclone's S3 server on loopback. Everything ends in sync. Options of restic can be tried by environment:
``BENCH_RESTIC='{"pack_mib": 32}' make bench-saves``.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.figures import report
from overworld.saves.base import Repository
from overworld.saves.options import ResticOptions
from overworld.saves.program import find_restic
from overworld.saves.restic import Restic
from s3 import BUCKET, KEY_ID, RCLONE, S3, SECRET
from trees import read_tree

MIB = 2**20
SECTOR = 4096
REGIONS, REGION_SECTORS = 190, 1650
CHANGED_PART = 0.05  # of the sectors of a tenth of the region files
ROUNDS = 3


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, S3(Path(name) / "s3") as s3:
        asyncio.run(measure(Path(name), s3))


async def measure(folder: Path, s3: S3) -> None:
    """All of it, on one world."""
    chance = random.Random(20261126)
    world = folder / "world"
    make_world(world, chance)
    sync(folder)
    report("saves: the world", size_of(world) / MIB, "MiB")
    store = Restic(find_restic(), folder / "cache", ResticOptions(**json.loads(os.environ.get("BENCH_RESTIC", "{}"))))
    repository = s3.location().repository("server", "x")
    await store.ensure_repository(repository, may_make=True)

    first, first_sent = await timed(lambda: save(store, repository, world), s3)
    tar_first, _ = await timed(lambda: tar_and_gzip(world, s3, "first.tar.gz"), s3)
    report("saves: first save", first, "s", f"≤ {tar_first:.3g} (tar + gzip)")
    report("saves: first save, sent", first_sent / MIB, "MiB")

    seconds, sent = [], []
    for _ in range(ROUNDS):
        changed = change_world(world, chance)
        took, bytes_sent = await timed(lambda: save(store, repository, world), s3)
        seconds.append(took)
        sent.append(bytes_sent)
    tar_second, tar_sent = await timed(lambda: tar_and_gzip(world, s3, "second.tar.gz"), s3)
    second, second_sent = statistics.median(seconds), statistics.median(sent)
    report("saves: changed in the world before each next save", changed / MIB, "MiB")
    report("saves: tar + gzip, second", tar_second, "s")
    report("saves: tar + gzip, second, sent", tar_sent / MIB, "MiB")
    report("saves: second save, median", second, "s")
    report("saves: second save, sent", second_sent / MIB, "MiB")
    report("saves: second save, bytes sent a byte changed", second_sent / changed, "")
    report("saves: second save, faster than tar + gzip", tar_second / second, "×", "≥ 15")
    report("saves: second save, fewer bytes than tar + gzip", tar_sent / second_sent, "×", "≥ 9")

    unchanged = [(await timed(lambda: save(store, repository, world), s3))[0] for _ in range(ROUNDS)]
    report("saves: unchanged world, median", statistics.median(unchanged), "s", "≤ 1.5")

    newest = (await store.snapshots(repository))[-1].snapshot_id
    rclone("copy", str(world), f":s3:{BUCKET}/plain", s3=s3)
    restores, copies = [], []
    again = folder / "again"
    for number in range(ROUNDS):
        restores.append((await timed(lambda: store.restore(repository, newest, again), s3))[0])
        if number == 0:
            assert read_tree(again) == read_tree(world)
        shutil.rmtree(again)
        sync(folder)
        copies.append((await timed(lambda: copy_and_sync(again, s3), s3))[0])
        shutil.rmtree(again)
        sync(folder)
    report("saves: restore, median", statistics.median(restores), "s")
    report("saves: rclone copy of the same files, median", statistics.median(copies), "s")
    report(
        "saves: restore, as long as rclone copy", statistics.median(restores) / statistics.median(copies), "×", "≤ 1.5"
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    report("saves: most memory of any program (restic, tar, rclone)", peak, "MiB")


async def timed(action: Callable[[], Awaitable[object]], s3: S3) -> tuple[float, int]:
    """Seconds it took, and the bytes by which the store grew."""
    before = size_of(s3.folder)
    began = time.monotonic()
    await action()
    return time.monotonic() - began, size_of(s3.folder) - before


async def save(store: Restic, repository: Repository, world: Path) -> None:
    """One save."""
    await store.save(repository, world)


async def tar_and_gzip(world: Path, s3: S3, name: str) -> None:
    """The whole world as one archive, sent while it is being made."""
    with subprocess.Popen(["tar", "-cz", "-C", world, "."], stdout=subprocess.PIPE) as tar:
        rclone("rcat", f":s3:{BUCKET}/tar/{name}", s3=s3, stdin=tar)
    assert tar.returncode == 0


async def copy_and_sync(target: Path, s3: S3) -> None:
    """The files as they are, from the same store, and on the disk."""
    rclone("copy", f":s3:{BUCKET}/plain", str(target), s3=s3)
    sync(target)


def rclone(*words: str, s3: S3, stdin: subprocess.Popen[bytes] | None = None) -> None:
    """Run rclone against the store."""
    environment = {
        **os.environ,
        "RCLONE_S3_PROVIDER": "Rclone",
        "RCLONE_S3_ENDPOINT": f"http://127.0.0.1:{s3.port}",
        "RCLONE_S3_ACCESS_KEY_ID": KEY_ID,
        "RCLONE_S3_SECRET_ACCESS_KEY": SECRET,
    }
    command = [str(RCLONE), "--config", "/dev/null", "--log-level", "ERROR", *words]
    subprocess.run(command, env=environment, stdin=stdin.stdout if stdin else subprocess.DEVNULL, check=True)


def make_world(world: Path, chance: random.Random, *, regions: int = REGIONS) -> None:
    """Region files whose chunks are compressed and padded to sectors, as Minecraft writes them; jars; player files."""
    (world / "region").mkdir(parents=True)
    (world / "playerdata").mkdir()
    (world / "mods").mkdir()
    for number in range(regions):
        with (world / "region" / f"r.{number % 14}.{number // 14}.mca").open("wb") as file:
            sectors = 0
            while sectors < REGION_SECTORS:
                length = chance.randint(1, 5)
                file.write(chance.randbytes(length * SECTOR - chance.randint(0, SECTOR)).ljust(length * SECTOR, b"\0"))
                sectors += length
    for number in range(20):
        (world / "mods" / f"mod-{number}.jar").write_bytes(chance.randbytes(4 * MIB))
    for _ in range(400):
        (world / "playerdata" / f"{chance.randbytes(16).hex()}.dat").write_bytes(chance.randbytes(6_000))
    (world / "level.dat").write_bytes(chance.randbytes(3_000))


def change_world(world: Path, chance: random.Random) -> int:
    """Bytes that were changed: single sectors, scattered over a tenth of the region files of the smaller world."""
    files = sorted((world / "region").iterdir())
    changed = 0
    for path in chance.sample(files, REGIONS // 10):
        sectors = path.stat().st_size // SECTOR
        with path.open("r+b") as file:
            for sector in chance.sample(range(sectors), int(sectors * CHANGED_PART)):
                file.seek(sector * SECTOR)
                changed += file.write(chance.randbytes(SECTOR))
    return changed


def size_of(folder: Path) -> int:
    """Bytes of all files below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sync(folder: Path) -> None:
    """All that was written there is on the disk."""
    subprocess.run(["sync", "-f", folder], check=True)


if __name__ == "__main__":
    main()
