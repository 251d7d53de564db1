"""What tests of recoveries are made of: an installation that is lost, and an empty machine with its bucket and key."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from installation import Installation, free_port, json_of
from integration.worker.saving import CATALOGUE, restic
from trees import read_tree

QUIET = {"save_schedule": "", "drills": "false", "catalogue_folders": str(CATALOGUE)}
"""Nothing is saved unless it is asked for."""


@contextmanager
def machine(folder: Path, **settings: str) -> Iterator[Installation]:
    """A machine on which nothing runs yet; all that was started on it is ended."""
    it = Installation(folder, **{"restic": str(restic()), **QUIET, **settings})
    try:
        yield it
    finally:
        it.destroy()


def lose(machine: Installation) -> None:
    """Its disk is gone, and with it every process; nothing was told before."""
    machine.destroy()
    machine.up = None
    shutil.rmtree(machine.folder)
    machine.port = free_port()


def make_key(machine: Installation) -> str:
    """The recovery key, and a first dump."""
    made = machine.overworld("recovery", "create-key")
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() not in made.stderr
    return made.stdout.strip()


def put(api: httpx.Client, server_id: str, path: str, content: bytes) -> None:
    """Something that somebody built in the world."""
    json_of(api.put(f"/servers/{server_id}/files/content", params={"path": path}, content=content))


def contents(world: Path) -> dict[str, tuple[object, ...]]:
    """Everything of a world but its owner, who has another number on another machine."""
    return {path: (entry[0], *entry[3:]) for path, entry in read_tree(world).items()}
