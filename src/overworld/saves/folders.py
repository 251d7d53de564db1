"""The folders that saves are taken of and restored into."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from overworld.domain.errors import NoSuchSave, SaveDeadline, SaveError
from overworld.saves import faults, patterns
from overworld.saves.process import Invocation, run

_SYNC = "/bin/sync"  # of coreutils


def find_source(source: Path) -> Path:
    """The real place of a folder that is to be saved. Blocking. Raises SaveError if there is none."""
    if not source.is_dir():
        raise SaveError(f"There is no world to save in {source}.")
    return source.resolve()


def make_target(target: Path) -> None:
    """A folder for a restore: new, or empty. Blocking. Raises SaveError if something is in it."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise SaveError(f"{target} is not empty: a save is restored into a new folder.")


def check_included(target: Path, include: Sequence[str]) -> None:
    """All of these paths of the save are in the target. Blocking. Raises NoSuchSave with the first that is not."""
    for path in include:
        if not os.path.lexists(f"{target}{patterns.absolute(path)}"):
            raise NoSuchSave(f"The save has no {path}: not all of what was asked for could be restored.")


async def sync_target(target: Path, left: timedelta, deadline: timedelta) -> None:
    """What was written below the folder is on the disk: ``syncfs(2)`` of its file system, which is far less than to
    sync each of a hundred thousand files. restic itself syncs nothing that it restores. Raises SaveDeadline when what
    is ``left`` of the deadline has passed, and SaveError if the disk does not take it."""
    ended = await run(Invocation([_SYNC, "-f", str(target)], left, read=[target]), lambda _: None)
    if ended.deadline_passed:
        raise SaveDeadline(f"The disk did not take it within {deadline.total_seconds():g} s; try again.")
    if ended.status != 0:
        raise SaveError(f"The disk did not take what was restored: {faults.last_words(ended.words)}")
