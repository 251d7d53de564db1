"""Rows of saves, for tests that need no store behind them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from overworld.domain.saves import Quiet, Save, SaveReason, SaveState
from overworld.store import saves
from overworld.store.database import Database
from overworld.store.servers import load_server


def make_kept_save(database: Database, server_id: str, *, now: datetime | None = None, **values: Any) -> Save:
    """A save of that server that a store would have."""
    at = now or datetime.now(UTC)
    with database.transaction() as tx:
        view = load_server(tx, server_id)
        assert view is not None
        new = saves.insert_save(
            tx,
            view.server,
            operation_id="made-up",
            reason=SaveReason.ON_DEMAND,
            label="",
            pinned=False,
            game_revision="1",
            now=at,
        )
        given = {
            "state": SaveState.KEPT,
            "snapshot_id": "0" * 64,
            "quiet": Quiet.QUIETED,
            "bytes_total": 10,
            "bytes_new": 5,
            "files": 1,
            "seconds": 0.1,
            "ended_at": at,
            **values,
        }
        kept = saves.write_save(tx, new.id, given)
    assert kept is not None
    return kept
