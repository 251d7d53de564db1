"""The cache of restic: indexes, snapshots and folders of repositories, so that the store is asked for none of them
twice. It may be lost at any time."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

_REPOSITORY = re.compile(r"[0-9a-f]{64}")


def trim_cache(folder: Path, limit_bytes: int) -> int:
    """The cache takes at most ``limit_bytes``: the repositories that were used longest ago are removed from it.
    Bytes removed. Blocking; safe while restic runs, which at worst asks the store again. Safe to call twice."""
    parts = sorted(_parts(folder))
    excess = sum(size for _, size, _ in parts) - limit_bytes
    removed = 0
    for _, size, part in parts:
        if removed >= excess:
            break
        shutil.rmtree(part, ignore_errors=True)
        removed += size
    return removed


def _parts(folder: Path) -> list[tuple[float, int, Path]]:
    """When each repository's part was last used, its bytes, and where it is."""
    if not folder.is_dir():
        return []
    return [(part.stat().st_mtime, _size(part), part) for part in folder.iterdir() if _REPOSITORY.fullmatch(part.name)]


def _size(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
            except OSError:
                continue
    return total
