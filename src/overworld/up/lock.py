"""One ``overworld up`` a data folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overworld.domain.errors import Conflict, Unavailable


@contextmanager
def sole_owner(data_folder: Path) -> Iterator[None]:
    """Hold the data folder for this process: raises Conflict, naming the other process, if one holds it already, and
    Unavailable if nothing can be kept there.

    An flock, so a killed process leaves nothing to clean up. Children do not inherit it (close-on-exec).
    """
    try:
        data_folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_folder / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"Nothing can be kept in {data_folder}: {error.strerror}. Set OVERWORLD_DATA_FOLDER to a folder of yours, "
            "or OVERWORLD_DATABASE_URL where only the database is wanted."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise Conflict(
                f"Overworld already runs on {data_folder} (process {holder}). "
                "Stop that one, or set OVERWORLD_DATA_FOLDER to another folder."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
