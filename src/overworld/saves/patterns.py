"""Paths of a world, as restic wants to read them. Pure."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from overworld.domain.errors import BadInput, NoSuchSave

_SPECIAL = re.compile(r"([\\*?\[])")
_ID = re.compile(r"[0-9a-f]{8,64}")


def exclude(pattern: str, root: Path) -> str:
    """A pattern that is relative to the world's root, as one for restic, which knows only whole paths of the machine:
    with a leading slash it is anchored at the root, otherwise it holds anywhere in the world."""
    if "\0" in pattern or not pattern.strip("/") or ".." in PurePosixPath(pattern).parts:
        raise BadInput(f"{pattern!r} excludes nothing: it must name files below the world's root.")
    return f"{_literal(str(root))}/{pattern.lstrip('/') if pattern.startswith('/') else f'**/{pattern}'}"


def include(path: str) -> str:
    """A path of a save, as a pattern that matches it (and what is below it) and nothing else."""
    return _literal(absolute(path))


def absolute(path: str) -> str:
    """A path inside a save with one slash before it; raises ``NoSuchSave`` for one that leads out of it."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in path:
        raise NoSuchSave(f"{path!r} leads out of the save.")
    return "/" + "/".join(parts)


def checked_id(snapshot_id: str) -> str:
    """The id, if it can be one: it becomes an argument, where "latest" or "-x" would mean something else."""
    if not _ID.fullmatch(snapshot_id):
        raise NoSuchSave(f"{snapshot_id!r} is no id of a save.")
    return snapshot_id


def checked_tag(tag: str) -> str:
    """The tag, if restic can keep it as one."""
    if "," in tag or not tag:
        raise BadInput(f"{tag!r} cannot be a tag: it must not be empty, and have no comma.")
    return tag


def _literal(path: str) -> str:
    return _SPECIAL.sub(r"\\\1", path)
