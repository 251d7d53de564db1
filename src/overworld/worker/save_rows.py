"""The row of a save while it is taken: begun, then kept or failed, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from overworld.domain.errors import OverworldError
from overworld.domain.events import Level, NewEvent
from overworld.domain.saves import Quiet, Save, SaveReason, SaveState
from overworld.domain.servers import Server
from overworld.saves.base import SaveResult
from overworld.store import events, save_policies, saves
from overworld.store.database import Transaction
from overworld.worker.job import Job

MIB = 1024 * 1024

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known of a save before it is taken."""

    reason: SaveReason
    label: str
    pinned: bool
    game_revision: str
    world_generation: int


@dataclass(frozen=True, slots=True)
class Taken:
    """``quiet`` is known once all is sent; ``quiet_tag`` was sent with it."""

    result: SaveResult
    quiet: Quiet
    quiet_tag: Quiet
    why_not: str
    off_seconds: float | None


def begin(tx: Transaction, job: Job, server: Server, wanted: Wanted) -> tuple[int, Save]:
    """The row of a save that is being taken, and how many there were whose worker died over it: they have failed."""
    now = datetime.now(UTC)
    abandoned = saves.abandon_running(tx, server.id, "The worker died while it was taken.", now)
    return abandoned, saves.insert_save(
        tx,
        server,
        operation_id=job.operation.id,
        reason=wanted.reason,
        label=wanted.label,
        pinned=wanted.pinned,
        game_revision=wanted.game_revision,
        world_generation=wanted.world_generation,
        now=now,
    )


async def mark_failed(job: Job, save: Save, says: str) -> None:
    """The save has failed, and why. Raises nothing: that the row cannot be written is logged."""
    values = {"state": SaveState.FAILED, "error": says, "ended_at": datetime.now(UTC)}
    try:
        await job.write(lambda tx: saves.write_save(tx, save.id, values))
    except OverworldError as error:  # whoever has the lease next ends it
        log.warning("a failed save is still shown as running", error=error.detail)


def finish(tx: Transaction, save: Save, taken: Taken) -> Save:
    """The save is kept, and events tell it."""
    now = datetime.now(UTC)
    result = taken.result
    kept = saves.write_save(
        tx,
        save.id,
        {
            "state": SaveState.KEPT,
            "snapshot_id": result.snapshot_id,
            "quiet": taken.quiet,
            "off_seconds": taken.off_seconds,
            "bytes_total": result.bytes_total,
            "bytes_new": result.bytes_new,
            "files": result.files,
            "seconds": result.seconds,
            "error": taken.why_not,
            "ended_at": now,
        },
    )
    assert kept is not None
    if save.reason is not SaveReason.UPLOAD:
        save_policies.write_health(tx, save.server_id, {"last_saved_at": save.created_at})
    news = [NewEvent(save.server_id, "Saved", sentence(kept))]
    if taken.why_not:
        message = f"The save may be torn: {taken.why_not}"
        news.append(NewEvent(save.server_id, "SaveUnquieted", message, Level.WARNING))
    events.insert_events(tx, news, now)
    return kept


def sentence(save: Save) -> str:
    """What a person reads of a kept save."""
    size, new = (save.bytes_total or 0) / MIB, (save.bytes_new or 0) / MIB
    return f"{size:.1f} MiB saved in {save.seconds or 0:.1f} s, {new:.1f} MiB of it new ({save.quiet or 'unknown'})."
