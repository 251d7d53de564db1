"""Proof: the store looked through, and a real restore compared with what is known."""

from __future__ import annotations

from datetime import UTC, datetime

from overworld.domain.conditions import ConditionType, Reason, find_condition
from overworld.domain.errors import NotFound, RepositoryDamaged
from overworld.domain.events import NewEvent
from overworld.domain.saves import Proof, Quiet, Save, SaveReason, SaveState
from overworld.domain.servers import Server
from overworld.saves.base import Progress
from overworld.store import events, save_policies, saves
from overworld.store import servers as server_rows
from overworld.store.database import Transaction
from overworld.store.server_rows import ServerView
from overworld.worker.job import Job
from overworld.worker.runner import Done
from overworld.worker.save_rows import MIB
from overworld.worker.snapshots import Boot, Size, World
from overworld.worker.terms import Terms, Tools

PARTS = 12
"""A check reads one part of the data, the next check the next: after so many all of it was read."""


class Proving:
    """Checks and drills of one worker."""

    def __init__(self, tools: Tools, terms: Terms) -> None:
        self._tools = tools
        self._terms = terms

    async def check(self, job: Job) -> Done:
        """The job of kind check."""
        repository, _ = await self._tools.repositories.to_write(job, job.operation.account_id)
        health = await job.write(lambda tx: save_policies.find_health(tx, job.server_id))
        part = health.checks % PARTS + 1
        job.say(0, 1, f"Looking through the store; part {part} of {PARTS} of the data is read.")
        await self._tools.store.check(repository, subset=(part, PARTS), deadline=self._terms.deadline, holds_lease=True)
        values = {"last_checked_at": datetime.now(UTC), "checks": health.checks + 1}
        await job.write(lambda tx: save_policies.write_health(tx, job.server_id, values))
        return Done(f"Every save is whole; part {part} of {PARTS} of the data was read and is as it was written.")

    async def drill(self, job: Job) -> Done:
        """The job of kind drill."""
        save, view = await job.write(lambda tx: _find(tx, job))
        repository = await self._tools.repositories.find(save.server_id)

        def on_progress(progress: Progress) -> None:
            job.say(1, 3, f"Restoring to scratch: {progress.bytes_done // MIB} MiB.")

        job.say(1, 3, "Restoring to scratch.")
        assert save.snapshot_id is not None
        game = self._tools.catalogue.find(view.server.game)
        boot = Boot(view.server, game) if game is not None and game.saving.drill else None
        compared = await self._tools.snapshots.drill(
            _counterpart(save, view.server),
            repository,
            save.snapshot_id,
            saved_at=save.created_at.timestamp(),
            is_still=_is_still(save, view),
            progress=on_progress,
            deadline=self._terms.deadline,
            size=Size(save.bytes_total or 0, save.files or 0),
            boot=boot,
        )
        if compared.differences:
            raise RepositoryDamaged("The restored world is not what was saved: " + "; ".join(compared.differences[:5]))
        await job.write(lambda tx: _write_proof(tx, save, Proof.RESTORED if boot is None else Proof.BOOTED))
        return Done(
            f"{compared.files} files restored; {compared.equal} of them did not change since and are the same.",
            "Proven",
        )


def _find(tx: Transaction, job: Job) -> tuple[Save, ServerView]:
    save = saves.find_save(tx, job.argument("save_id"), None)
    view = server_rows.load_server(tx, job.server_id)
    if save is None or save.state is not SaveState.KEPT or view is None:
        raise NotFound("The save is not in the store any more.")
    return save, view


def _counterpart(save: Save, server: Server) -> World:
    """The world that the save is compared with: what was uploaded has none, for its generation is gone."""
    generation = save.world_generation if save.reason is SaveReason.UPLOAD else server.world_generation
    return World(server.id, server.number, generation)


def _is_still(save: Save, view: ServerView) -> bool:
    """Whether nothing can have changed the world since: taken of a stopped game that has not run since."""
    ready = find_condition(view.status.conditions, ConditionType.READY)
    return (
        save.quiet is Quiet.STOPPED
        and save.world_generation == view.server.world_generation
        and ready is not None
        and ready.reason == Reason.STOPPED
        and ready.since <= save.created_at
    )


def _write_proof(tx: Transaction, save: Save, proof: Proof) -> None:
    now = datetime.now(UTC)
    saves.write_save(tx, save.id, {"proven_at": now, "proof": proof})
    save_policies.write_health(tx, save.server_id, {"last_proven_at": now})
    message = f"The save of {save.created_at:%Y-%m-%d %H:%M} UTC was restored to scratch and compared."
    if proof is Proof.BOOTED:
        message += " The game started on it and answered."
    events.insert_events(tx, [NewEvent(save.server_id, "SaveProven", message)], now)
