"""Errands of a worker, run where a world is: a save of it into the store, or a restore into it.

    python -m overworld.worker.errands      (by a worker, in a steward; docs/decisions/0014)

Standard input: one line of JSON, secrets included, which are therefore in no manifest and no argument. Standard output
is that of the world agent: ``item`` lines (progress, or nothing: a sign of life), then one ``done`` or ``error``.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from overworld.domain.errors import DiskFull, EngineUnavailable, OverworldError
from overworld.engines import agent
from overworld.engines.local.folders import remove_tree
from overworld.engines.local.generations import copy_entries, sync
from overworld.saves.base import Progress, Repository
from overworld.saves.options import ResticOptions
from overworld.saves.program import find_restic
from overworld.saves.restic import Restic
from overworld.worker.placing import find_in_save, left_out, nothing_to_save, put_in_place, settle_staged
from overworld.worker.snapshots import NothingToSave

ROOM = Path("/tmp")  # noqa: S108 (the steward's own)
CACHE_MIB = 1024
REQUEST_BYTES = 8 * 2**20
"""A save names every database that it has copied."""
BEAT_SECONDS = 5.0
TAKEN_OVER_WITHIN_SECONDS = 20.0
OURS = ("lost+found",)
"""At the top of a volume: the file system's own."""
PART = ".overworld-restore"

Request = Mapping[str, Any]
Tell = Callable[[Mapping[str, Any]], None]


def render_repository(repository: Repository) -> dict[str, Any]:
    """The repository for a request, its secrets included. Blocking: it reads the certificate authority."""
    return {
        "url": repository.url,
        "password": repository.password,
        "environment": dict(repository.environment),
        "authority": None if repository.ca_file is None else repository.ca_file.read_text(encoding="utf-8"),
    }


def read_repository(content: Request) -> Repository:
    """What ``render_repository`` has rendered."""
    ca_file = None
    if content["authority"] is not None:
        ca_file = ROOM / "authority.pem"
        ca_file.write_text(content["authority"], encoding="utf-8")
    return Repository(content["url"], content["password"], content["environment"], ca_file)


def render_options(options: ResticOptions) -> dict[str, Any]:
    """What of them holds wherever the store is spoken to from, for a request."""
    return {
        "patience_seconds": options.patience.total_seconds(),
        "upload_kib_s": options.upload_kib_s,
        "download_kib_s": options.download_kib_s,
    }


def read_options(content: Request) -> ResticOptions:
    """What ``render_options`` has rendered, for a steward."""
    return ResticOptions(
        cache_mib=CACHE_MIB,
        patience=timedelta(seconds=content["patience_seconds"]),
        upload_kib_s=content["upload_kib_s"],
        download_kib_s=content["download_kib_s"],
    )


async def save(request: Request, store: Restic, world: Path, tell: Tell) -> dict[str, Any]:
    """The world in the store, as ``Snapshots.save`` has it."""
    try:
        with nothing_to_save():
            result = await store.save(
                read_repository(request["repository"]),
                world,
                tags=request["tags"],
                excludes=[*left_out(request["excludes"], request["staged"]), *(f"/{name}" for name in OURS)],
                parent=request["parent"],
                progress=_teller(tell),
                deadline=timedelta(seconds=request["seconds"]),
                holds_lease=True,
            )
    except NothingToSave:
        return {"result": None}
    return {"result": asdict(result)}


async def restore(request: Request, store: Restic, world: Path, tell: Tell) -> dict[str, Any]:
    """``world`` is that save (with ``paths``: what is below ``base``, but for these paths), whatever an attempt before
    has left in it. ``settled`` are the databases that were put in their places."""
    repository, snapshot_id, paths = read_repository(request["repository"]), request["snapshot_id"], request["paths"]
    include = await find_in_save(store, repository, snapshot_id, paths) if paths else ()
    await asyncio.to_thread(_clear, world)
    part = world / PART
    deadline = timedelta(seconds=request["seconds"])
    await store.restore(repository, snapshot_id, part, include=include, progress=_teller(tell), deadline=deadline)
    settled = await asyncio.to_thread(settle_staged, part)
    await asyncio.to_thread(_place, part, world, paths, request["base"])
    return {"settled": list(settled)}


def _clear(world: Path) -> None:
    for entry in os.scandir(world):
        if entry.name not in OURS:
            _open_up(entry.path)
            remove_tree(Path(entry.path))


def _open_up(path: str) -> None:
    """Folders that their owner may not write in are no obstacle: only root does not need this."""
    subprocess.run(["/bin/chmod", "-R", "u+rwX", path], stderr=subprocess.DEVNULL, check=False)


def _place(part: Path, world: Path, paths: list[str], base: str | None) -> None:
    """The restored files where they belong, on the disk."""
    if base is None:
        # A root that holds others' things (lost+found) is no folder that restic could restore into.
        for name in os.listdir(part):
            _move(part / name, world / name)
    else:
        copy_entries(Path(base), world, besides=(*OURS, PART))
        put_in_place(part, world, paths)
    remove_tree(part)
    sync(world)


def _move(source: Path, target: Path) -> None:
    """A folder takes its .. along, so whoever moves it has to be let write in it."""
    seen = source.lstat()
    if stat.S_ISDIR(seen.st_mode) and not seen.st_mode & stat.S_IWUSR:
        source.chmod(stat.S_IMODE(seen.st_mode) | stat.S_IWUSR)
        source.rename(target)
        target.chmod(stat.S_IMODE(seen.st_mode))
    else:
        source.rename(target)


ERRANDS: Mapping[str, Callable[[Request, Restic, Path, Tell], Awaitable[dict[str, Any]]]] = {
    "save": save,
    "restore": restore,
}


def _teller(tell: Tell) -> Callable[[Progress], None]:
    return lambda progress: tell(asdict(progress))


async def _run(request: Request, tell: Tell) -> dict[str, Any]:
    async def beat() -> None:
        while True:
            tell({})
            await asyncio.sleep(BEAT_SECONDS)

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    beating = asyncio.create_task(beat())
    try:
        store = Restic(find_restic(), ROOM / "cache", read_options(request["options"]))
        return await ERRANDS[request["errand"]](request, store, Path.cwd(), tell)
    finally:
        beating.cancel()


def _take_over() -> None:
    """Nobody else is on an errand here. Whoever was has lost its worker, or its worker the lease: it is ended."""
    lock = os.open(ROOM / "errand", os.O_RDWR | os.O_CREAT, 0o600)
    give_up_at = time.monotonic() + TAKEN_OVER_WITHIN_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            number = signal.SIGTERM if time.monotonic() < give_up_at else signal.SIGKILL
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(os.pread(lock, 20, 0)), number)
            time.sleep(0.5)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def main() -> int:
    """Do the errand that standard input names; the exit status."""
    wire = agent.Wire(0, 1)
    try:
        request = wire.request(REQUEST_BYTES)
        _take_over()
        done = asyncio.run(_run(request, lambda content: wire.say("item", content)))
    except (OverworldError, agent.Refusal, asyncio.CancelledError, OSError) as error:
        wire.say("error", _explain(error))
        return 1
    wire.say("done", done)
    return 0


def _explain(error: BaseException) -> dict[str, Any]:
    if isinstance(error, OverworldError):
        return {"code": type(error).__name__, "says": error.detail, "reason": error.extra.get("reason")}
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return {"code": DiskFull.__name__, "says": "The disk of the world is full.", "reason": None}
    says = "It was called off." if isinstance(error, asyncio.CancelledError) else f"The errand failed: {error}"
    return {"code": EngineUnavailable.__name__, "says": says, "reason": None}


if __name__ == "__main__":
    sys.exit(main())
