"""The token by which the owner of this machine is an admin: a 0600 file in the data folder."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from overworld.services import bootstrap
from overworld.store.database import Database

FILE_NAME = "admin-token"


def keep_admin_token(database: Database, data_folder: Path, now: datetime) -> None:
    """Make sure that the file holds a working token of an admin, issuing one if it does not. Safe to call twice.

    The file is written before the transaction commits: killed in between, it holds a token that nobody knows and the
    next start writes another; the other way round, the only copy of a valid token would be lost.
    """
    path = data_folder / FILE_NAME
    remembered = path.read_text().strip() if path.exists() else None
    with database.transaction() as tx:
        token = bootstrap.ensure_admin_token(tx, remembered, now)
        if token != remembered:
            _write_secret(path, token)


def _write_secret(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
