"""A secret that one machine keeps in a file of its own."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def keep_secret(path: Path) -> bytes:
    """The 64 characters in the file, which is made (mode 0600) if it is not there. Of two processes that make it at
    once both get the same. Raises OSError."""
    with suppress(FileNotFoundError):
        return path.read_bytes().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)  # all of it or nothing, and only one of two succeeds
    finally:
        beside.unlink(missing_ok=True)
    return path.read_bytes().strip()
