"""Two trees compared, entry by entry. Pure but for ``read_tree``."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from overworld.engines import agent
from overworld.worker.placing import refusals
from overworld.worker.snapshots import Compared, Entry, Tree, read_entry

MOST_DIFFERENCES = 20
_OF_ANYTHING = ("type", "mode", "target")
_OF_A_FILE = (*_OF_ANYTHING, "size", "sha256", "mtime_ns", "links")


class _Items:
    def __init__(self) -> None:
        self.found: dict[str, Entry] = {}

    def say(self, _kind: str, item: dict[str, Any]) -> None:
        self.found[item["path"]] = read_entry(item)


def read_tree(folder: Path) -> Tree:
    """Everything below ``folder``, which is ours alone. Raises EngineRefused for more than can be compared."""
    items = _Items()
    with refusals(), agent.opened(os.open(folder, agent.FOLDER_FLAGS)) as root:
        agent.do_tree(root, {"path": "", "hash": True}, items)  # type: ignore[arg-type]
    return items.found


def compare(
    restored: Tree, present: Tree, *, saved_at: float, is_still: bool, besides: Collection[str] = ()
) -> Compared:
    """What differs that should not. Where the world ``is_still`` as it was saved, everything that was saved is the
    same; else what did not change after ``saved_at`` (seconds since 1970) is. ``besides`` are databases, whose copies
    hold the same in another form."""
    differences: list[str] = []
    equal = files = 0
    for path, mine in restored.items():
        is_file = mine.type == "file"
        files += is_file
        theirs = present.get(path)
        if path in besides or theirs is None:
            if theirs is None and is_still:
                differences.append(f"{path} is in the save and not in the world")
            continue
        if not is_still and (theirs.type != mine.type or _changed(theirs, mine, saved_at)):
            continue
        fields = _OF_A_FILE if is_file else _OF_ANYTHING
        different = [field for field in fields if getattr(mine, field) != getattr(theirs, field)]
        if different:
            differences.append(f"{path}: another {' and '.join(different)}")
        else:
            equal += is_file
    return Compared(files=files, equal=equal, differences=tuple(differences[:MOST_DIFFERENCES]))


def _changed(theirs: Entry, mine: Entry, saved_at: float) -> bool:
    if theirs.type != "file":
        return True  # nothing tells when a folder or a link was changed
    return theirs.mtime_ns >= saved_at * 1e9 or theirs.mtime_ns != mine.mtime_ns
