"""Folders that are saved, and such that a save is restored into."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from overworld.domain.errors import NoSuchSave, SaveDeadline, SaveError
from overworld.saves import faults, patterns
from overworld.saves.process import Invocation, run

SYNC = "/bin/sync"  # of coreutils


async def sync(folder: Path, left: timedelta, deadline: timedelta) -> None:
    """What was written below the folder is on the disk: ``syncfs(2)`` of its file system, which is far less than to
    sync each of a hundred thousand files. restic itself syncs nothing that it restores."""
    ended = await run(Invocation([SYNC, "-f", str(folder)], left, read=[folder]), lambda _: None)
    if ended.deadline_passed:
        raise SaveDeadline(f"The disk did not take it within {deadline.total_seconds():g} s; try again.")
    if ended.status != 0:
        raise SaveError(f"The disk did not take what was restored: {faults.last_words(ended.words)}")


def resolve(source: Path) -> Path:
    """Where the folder really is. Raises SaveError if there is none."""
    if not source.is_dir():
        raise SaveError(f"There is no world to save in {source}.")
    return source.resolve()


def make_target(target: Path) -> None:
    """An empty folder is there. Raises SaveError for one that holds something."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise SaveError(f"{target} is not empty: a save is restored into a new folder.")


def check_included(target: Path, include: Sequence[str]) -> None:
    """Raises NoSuchSave unless each of those paths was restored."""
    for path in include:
        if not os.path.lexists(f"{target}{patterns.absolute(path)}"):
            raise NoSuchSave(f"The save has no {path}: not all of what was asked for could be restored.")
