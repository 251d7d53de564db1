"""What a save leaves out of a world, and where a restore puts what it brings back."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from overworld.domain.errors import DiskFull, EngineRefused, NoSuchSave, SaveError
from overworld.engines import agent
from overworld.saves.base import Repository, SaveStore
from overworld.worker.snapshots import STAGING, NothingToSave

EMPTY = "snapshot is empty"
"""How restic refuses a save of nothing."""
SIDE_FILES = ("-wal", "-shm", "-journal")
PATTERN_BYTES = 1024 * 1024
"""Of all patterns: they are arguments of a program, of which the system bears 2 MiB."""


def left_out(excludes: Sequence[str], staged: Sequence[str]) -> list[str]:
    """Patterns of what is no part of a save: what the game excludes, what is being written by an edit, and the files
    that a copy stands for. Raises SaveError where those are more than can be said."""
    patterns = ["/" + pattern.lstrip("/") for pattern in excludes] + [".overworld-*.part"]
    if not staged:
        patterns.append(f"/{STAGING}")
    for path in staged:
        patterns += [f"/{_literal(path)}{side}" for side in ("", *SIDE_FILES)]
    if sum(len(os.fsencode(pattern)) for pattern in patterns) > PATTERN_BYTES:
        raise SaveError(f"The world has {len(staged)} databases, more than one save can take copies of.")
    return patterns


@contextmanager
def nothing_to_save() -> Iterator[None]:
    """The store's refusal of an empty save, as NothingToSave."""
    try:
        yield
    except SaveError as error:
        if EMPTY in error.detail:
            raise NothingToSave from error
        raise


async def find_in_save(store: SaveStore, repository: Repository, snapshot_id: str, paths: Sequence[str]) -> list[str]:
    """Where the paths are in the save: themselves, and the databases in or at them in ``STAGING``. Raises NoSuchSave
    for one that is not in it, as ``STAGING`` itself is not: a restore leaves nothing there."""
    include: list[str] = []
    for path in paths:
        places = (path, f"{STAGING}/{path}") if path.partition("/")[0] != STAGING else ()
        found = [place for place in places if await store.find_file(repository, snapshot_id, place) is not None]
        if not found:
            raise NoSuchSave(f"There is no {path} in the save.")
        include += [f"/{place}" for place in found]
    return include


def settle_staged(folder: Path) -> tuple[str, ...]:
    """The copies of databases put where they belong, over whatever is there; their paths. What is in ``folder`` is
    hostile: no link in it is followed. Nobody else can reach into it meanwhile."""
    settled: list[str] = []
    with refusals(), agent.opened(os.open(folder, agent.FOLDER_FLAGS)) as root:
        try:
            if not stat.S_ISDIR(agent.look(root, STAGING.encode()).st_mode):
                return ()
        except FileNotFoundError:
            return ()
        with agent.folder_at(root, [STAGING.encode()]) as staging:
            found = [path for _, _, path, seen in agent.walk(staging) if stat.S_ISREG(seen.st_mode)]
            for path in found:
                above, name = agent.named(path.split(b"/"))
                with agent.folder_at(staging, above) as source, agent.folder_at(root, above, make=True) as target:
                    _clear(target, name)
                    agent.move(source, name, target, name, replace=True)
                settled.append(agent.show_name(path))
        agent.remove_tree(root, STAGING.encode())
    return tuple(settled)


def put_in_place(source: Path, target: Path, paths: Sequence[str]) -> None:
    """Each of ``paths`` below ``target`` is what it is below ``source``, whatever was there; no link is followed."""
    with (
        refusals(),
        agent.opened(os.open(source, agent.FOLDER_FLAGS)) as here,
        agent.opened(os.open(target, agent.FOLDER_FLAGS)) as there,
    ):
        for path in paths:
            above, name = agent.named(agent.split_path(agent.read_name(path)))
            with agent.folder_at(here, above) as old, agent.folder_at(there, above, make=True) as new:
                _clear(new, name)
                agent.move(old, name, new, name, replace=True)


def _clear(folder: int, name: bytes) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(agent.look(folder, name).st_mode):
            agent.remove_tree(folder, name)
        else:
            os.unlink(name, dir_fd=folder)


@contextmanager
def refusals() -> Iterator[None]:
    """What the agent's own functions refuse or the system does, as the engine does: worlds are hostile."""
    try:
        yield
    except (agent.Refusal, OSError) as error:
        refusal = agent.explain(error)
        if refusal.code == "disk-full":
            raise DiskFull(refusal.says) from error
        raise EngineRefused("WorldOdd", refusal.says, retry_after=None) from error


def _literal(path: str) -> str:
    """The path as a pattern that matches nothing else."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path.replace("\\", "\\\\"))
