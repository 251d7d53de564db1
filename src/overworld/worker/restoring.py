"""Restoring: a new generation of the world beside the present one, whole and proven, then one row that swaps them.

Until that row is written the server has its old world, whatever dies; after it the old one is kept for undo.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog

from overworld.domain.conditions import ConditionType, Reason, find_condition
from overworld.domain.errors import Conflict, EngineUnavailable, NotFound, OverworldError
from overworld.domain.events import Level, NewEvent
from overworld.domain.operations import Operation, OperationKind, Outcome, derive_fulfilment
from overworld.domain.saves import Save, SaveReason, SaveState
from overworld.domain.servers import Desired, Server
from overworld.saves.base import Progress
from overworld.services import worlds
from overworld.store import events, jobs, operations, saves
from overworld.store import servers as server_rows
from overworld.store import worlds as world_rows
from overworld.store.database import Transaction
from overworld.store.server_rows import ServerView
from overworld.worker.job import Called, Job
from overworld.worker.placing import find_in_save
from overworld.worker.runner import PASSING, Done
from overworld.worker.save_rows import MIB
from overworld.worker.snapshots import NothingToSave, Part, World
from overworld.worker.taking import Taking
from overworld.worker.terms import Terms, Tools

LOOK_SECONDS = 0.25
STOPPED_WITHIN_SECONDS = 660.0
"""Longer than any game's grace and the controller's work around it."""
SETTLED_WITHIN_SECONDS = 600.0
KEPT_WHILE_MADE = timedelta(days=2)
STEPS = 4

log = structlog.get_logger(__name__)


class Restoring:
    """Restores and clones of one worker."""

    def __init__(self, tools: Tools, terms: Terms, taking: Taking) -> None:
        self._tools = tools
        self._terms = terms
        self._taking = taking

    async def run(self, job: Job) -> Done:
        """The job of kind restore or clone. Every step is safe to repeat; arguments tell which are done."""
        save = await job.write(lambda tx: _find_save(tx, job.argument("save_id")))
        if not job.operation.arguments.get("swapped"):
            paths = self._paths(job)
            if job.operation.kind is OperationKind.CLONE:
                await self._await_world(job)
            else:
                if paths:
                    await self._look_for(job, save, paths)
                    await self._hold(job)
                await self._save_first(job)
            world = await self._make(job, save, paths)
            job.say(3, STEPS, "Putting the restored world in place.")
            await job.write(lambda tx: self._swap(tx, job, save, world))
            job.note(swapped=True)
        return await self._await_end(job, save)

    async def tidy(self, job: Job, why: str) -> None:
        """The old world stays: what was made beside it is gone, and a server that was held runs again."""
        if job.operation.arguments.get("swapped"):
            return
        generation = job.operation.arguments.get("generation")
        if isinstance(generation, int):
            # A commit whose answer was lost: the row decides, not what we remember.
            if await job.write(lambda tx: _is_present(tx, job.server_id, generation)):
                return
            number = job.operation.arguments.get("number")
            world = World(job.server_id, number if isinstance(number, int) else 0, generation)
            await self._tools.snapshots.remove(world)
            await job.write(lambda tx: world_rows.unretire(tx, job.server_id, generation))
        held = job.operation.arguments.get("held_generation")
        if isinstance(held, int):
            try:
                await job.write(lambda tx: worlds.let_go(tx, job.server_id, held, datetime.now(UTC)))
            except NotFound:
                log.info("the server is gone, so it is not started again")

    def _paths(self, job: Job) -> list[str]:
        given = job.operation.arguments.get("paths")
        return [str(path) for path in given] if isinstance(given, list) else []

    async def _look_for(self, job: Job, save: Save, paths: list[str]) -> None:
        """All of it is in the save, and the store answers: nobody is thrown out of a game for a slip of the pen."""
        job.say(0, STEPS, "Looking for it in the save.")
        assert save.snapshot_id is not None
        repository = await self._tools.repositories.find(save.server_id)
        await find_in_save(self._tools.store, repository, save.snapshot_id, paths)

    async def _hold(self, job: Job) -> None:
        """Stop the game: single files are put into the world as it is at its end, so nothing played is lost."""
        server = (await self._view(job)).server
        if "held_generation" not in job.operation.arguments:
            if server.desired is not Desired.RUNNING:
                held: int | None = None
                await job.remember(held_generation=None)
            else:
                held = await job.write(lambda tx: self._hold_in(tx, job))
            job.note(held_generation=held)
        job.say(0, STEPS, "Stopping the game, its world saved.")
        give_up_at = monotonic() + STOPPED_WITHIN_SECONDS
        while not _is_stopped(view := await self._view(job)):
            if view.server.desired is Desired.RUNNING:
                raise Conflict("Somebody has started the server while files were to be restored into its world.")
            if monotonic() > give_up_at:
                raise EngineUnavailable("The game did not stop.")
            await asyncio.sleep(LOOK_SECONDS)

    def _hold_in(self, tx: Transaction, job: Job) -> int:
        server = worlds.hold(tx, job.server_id, datetime.now(UTC))
        jobs.write_arguments(tx, job.operation.id, {"held_generation": server.desired_generation})
        return server.desired_generation

    async def _save_first(self, job: Job) -> None:
        """What is about to be replaced is saved. If that can never be, the restore goes on: a broken world is what it
        is for, and the old generation is kept all the same."""
        if job.operation.arguments.get("saved_first"):
            return
        try:
            await self._taking.take(job, SaveReason.BEFORE_RESTORE)
        except NothingToSave:
            log.info("there was nothing to save before a restore")
        except PASSING:
            raise
        except OverworldError as error:
            log.warning("the world cannot be saved before a restore", error=error.detail)
            message = f"The world could not be saved before the restore; it is kept for undo. {error.detail}"
            event = NewEvent(job.server_id, "NotSavedBefore", message, Level.WARNING)
            await job.write(lambda tx: events.insert_events(tx, [event], datetime.now(UTC)))
        await job.remember(saved_first=True)

    async def _await_world(self, job: Job) -> None:
        """A new server's place is made by the controller."""
        server = (await self._view(job)).server
        world = World(server.id, server.number, 1)
        job.say(0, STEPS, "Waiting for the new server's place.")
        give_up_at = monotonic() + SETTLED_WITHIN_SECONDS
        while not await self._tools.snapshots.exists(world):
            if monotonic() > give_up_at:
                raise EngineUnavailable("The new server's place was not made.")
            await asyncio.sleep(LOOK_SECONDS)

    async def _make(self, job: Job, save: Save, paths: list[str]) -> World:
        server = (await self._view(job)).server
        given = job.operation.arguments.get("generation")
        generation: int = given if isinstance(given, int) else await job.write(lambda tx: self._reserve(tx, job))
        job.note(generation=generation, number=server.number)
        world = World(server.id, server.number, generation)
        repository = await self._tools.repositories.find(save.server_id)

        def on_progress(progress: Progress) -> None:
            total = progress.bytes_total or save.bytes_total
            of = f" of {total // MIB}" if total else ""
            job.say(3, STEPS, f"Restoring beside the present world: {progress.bytes_done // MIB}{of} MiB.")

        job.say(3, STEPS, "Restoring beside the present world.")
        assert save.snapshot_id is not None
        snapshots = self._tools.snapshots
        present = World(server.id, server.number, server.world_generation)
        # A volume that is missing is gone for good; a folder may be on a disk that is not mounted.
        if not snapshots.works_here and not paths and not await snapshots.exists(present):
            await snapshots.make_room(replace(server, world_generation=generation))
        await snapshots.restore(
            world,
            repository,
            save.snapshot_id,
            part=Part(paths, server.world_generation) if paths else None,
            progress=on_progress,
            deadline=self._terms.deadline,
        )
        return world

    def _reserve(self, tx: Transaction, job: Job) -> int:
        server, generation = worlds.reserve_generation(tx, job.server_id, datetime.now(UTC) + KEPT_WHILE_MADE)
        jobs.write_arguments(tx, job.operation.id, {"generation": generation, "number": server.number})
        return generation

    def _swap(self, tx: Transaction, job: Job, save: Save, world: World) -> None:
        now = datetime.now(UTC)
        is_clone = job.operation.kind is OperationKind.CLONE
        held = job.operation.arguments.get("held_generation")
        changed = worlds.swap(
            tx,
            job.server_id,
            world.generation,
            keep_until=now if is_clone else now + self._terms.undo,
            now=now,
            held_generation=held if isinstance(held, int) else None,
            start=bool(job.operation.arguments.get("start")),
        )
        # Now that the server is locked nobody else can call it off; who did so before this is told the truth.
        asked = operations.find_operation(tx, job.operation.id, None)
        if asked is not None and asked.cancel_asked_at is not None:
            raise Called
        jobs.write_arguments(tx, job.operation.id, {"swapped": True})
        message = f"{self._restored(job, save)} (world {changed.world_generation})."
        events.insert_events(tx, [NewEvent(job.server_id, "Restored", message)], now)

    async def _await_end(self, job: Job, save: Save) -> Done:
        """The server is again what it was, or what somebody has wished for since. A game that does not start on the
        restored world fails the restore, but does not take it back: its owner decides."""
        job.say(3, STEPS, "In place; waiting for the server.")
        give_up_at = monotonic() + SETTLED_WITHIN_SECONDS
        while True:
            view = await self._view(job)
            verdict = derive_fulfilment(_at_generation(job.operation, view.server), view.server, view.status)
            if verdict is not None and verdict.outcome is Outcome.FAILED:
                raise Conflict(
                    f"The world was restored, but the server does not run on it: {verdict.message} Undo the restore to"
                    " go back, or restore another save.",
                    reason=verdict.reason,
                )
            if verdict is not None:
                return Done(f"{self._restored(job, save)}.", "Restored")
            if monotonic() > give_up_at:
                raise Conflict("The world was restored, but the server has not settled since: look at its events.")
            await asyncio.sleep(LOOK_SECONDS)

    def _restored(self, job: Job, save: Save) -> str:
        paths, at = self._paths(job), f"{save.created_at:%Y-%m-%d %H:%M} UTC"
        if not paths:
            return f"The world of {at} is in place"
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        return f"Restored as of {at}: {', '.join(paths[:3])}{more}; the rest is as it was"

    async def _view(self, job: Job) -> ServerView:
        def read() -> ServerView | None:
            with self._tools.database.transaction() as tx:
                return server_rows.load_server(tx, job.server_id)

        view = await asyncio.to_thread(read)
        if view is None:
            raise NotFound("The server is gone.")
        return view


def _find_save(tx: Transaction, save_id: str) -> Save:
    save = saves.find_save(tx, save_id, None)
    if save is None or save.state is not SaveState.KEPT:
        raise NotFound("The save is not in the store any more.")
    return save


def _is_present(tx: Transaction, server_id: str, generation: int) -> bool:
    view = server_rows.load_server(tx, server_id)
    return view is not None and view.server.world_generation == generation


def _at_generation(operation: Operation, server: Server) -> Operation:
    return replace(operation, generation=server.desired_generation)


def _is_stopped(view: ServerView) -> bool:
    ready = find_condition(view.status.conditions, ConditionType.READY)
    is_seen = view.status.observed_generation >= view.server.desired_generation
    return is_seen and ready is not None and ready.reason == Reason.STOPPED
