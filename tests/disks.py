"""Small file systems for tests in which a disk is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """The folder, made if missing, is a file system of that size (``4m``) while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode != 0:
        assert not os.environ.get("CI"), mounted.stderr
        pytest.skip("NOT RUN: mounting a small disk needs root, and a machine that lets it (CI requires it)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow_disk(folder: Path, size: str) -> None:
    """It is larger now, and keeps what it holds."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
