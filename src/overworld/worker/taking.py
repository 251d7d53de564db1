"""Taking a save: the game held still, the world in the store, the row that tells of it, and what retention lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic

import structlog

from overworld.domain.errors import Conflict, NotFound, OverworldError, RepositoryDamaged, SaveError
from overworld.domain.events import Level, NewEvent
from overworld.domain.games import Saving
from overworld.domain.observed import Phase, ProcessSeen
from overworld.domain.saves import Quiet, Save, SaveReason, SaveState
from overworld.domain.servers import Server
from overworld.saves.base import Progress, Repository, SaveResult
from overworld.saves.retention import Kept, prune_is_due, saves_to_forget
from overworld.store import events, jobs, save_keys, save_policies, saves
from overworld.store import servers as server_rows
from overworld.store.database import Transaction
from overworld.time_zones import find_zone
from overworld.worker.job import Job
from overworld.worker.metrics import SAVE_BYTES, UNQUIETED
from overworld.worker.quiet import Quieter, Silence
from overworld.worker.runner import Done
from overworld.worker.save_rows import MIB, Taken, Wanted, begin, finish, mark_failed, sentence
from overworld.worker.snapshots import NothingToSave, Staged, World
from overworld.worker.terms import Terms, Tools, keep_of

NOTHING = "There is nothing in the world that is worth saving."
ASKED = {SaveReason.ON_DEMAND, SaveReason.UPLOAD}
WARM_TAG = "warm"
LOOK_SECONDS = 0.25
ENDED_WITHIN_SECONDS = 300.0
LONG_SILENCE_SECONDS = 1.0
"""A save that held its game longer than this is followed by one that is taken twice: what changed much is sent while
the game still writes, and only the rest while it does not."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is being saved. ``tag`` finds its row again from the store, where ``quiet`` says how still the world was:
    a recovery may find the save there without a row. ``besides``: in a world on which no game runs, the copies of
    databases that lie in ``STAGING``; None for a world on which one may."""

    world: World
    repository: Repository
    excludes: tuple[str, ...]
    tag: str
    quiet: Quiet = Quiet.UNQUIETED
    besides: Staged | None = None


class Taking:
    """Saves of one worker."""

    def __init__(self, tools: Tools, terms: Terms) -> None:
        self._tools = tools
        self._terms = terms
        self._quieter = Quieter(tools.console, terms.silence)

    async def run(self, job: Job) -> Done:
        """The job of kind save."""
        if job.argument("reason") == SaveReason.BEFORE_DELETE:
            await self._await_end(job)
        try:
            save = await self.take(
                job,
                SaveReason(job.argument("reason")),
                label=job.argument("label"),
                pinned=bool(job.operation.arguments.get("pinned")),
            )
        except NothingToSave:
            return Done(NOTHING, "NothingToSave")
        return Done(sentence(save), "Saved")

    async def take(self, job: Job, reason: SaveReason, *, label: str = "", pinned: bool = False) -> Save:
        """The present world of the job's server in the store, and its row. Raises what the port of the store raises,
        EngineError, NotFound for a server that is gone and Conflict for one that has no world yet."""
        server = await asyncio.to_thread(self.load, job)
        world = World(server.id, server.number, server.world_generation)
        if not await self._tools.snapshots.exists(world):
            raise Conflict("The server has no world yet: it is made at the first start.", reason="NoWorld")
        return await self._keep(job, server, world, reason, label=label, pinned=pinned)

    async def take_uploaded(self, job: Job, server: Server, world: World, besides: Staged) -> Save:
        """The same for a generation on which nothing ever runs. ``besides``: the copies of databases that it has in
        ``STAGING``, as a save that was downloaded whole has them."""
        label, pinned = job.argument("label"), bool(job.operation.arguments.get("pinned"))
        return await self._keep(job, server, world, SaveReason.UPLOAD, label=label, pinned=pinned, besides=besides)

    async def _keep(
        self,
        job: Job,
        server: Server,
        world: World,
        reason: SaveReason,
        *,
        label: str,
        pinned: bool,
        besides: Staged | None = None,
    ) -> Save:
        game = self._tools.catalogue.find(server.game)
        repository, may_make = await self._tools.repositories.to_write(job, server.account_id)
        job.say(0, 4, "Opening the save store.")
        await self._tools.store.ensure_repository(repository, may_make=may_make)
        wanted = Wanted(reason, label, pinned, game.revision if game is not None else "", world.generation)
        abandoned, save = await job.write(lambda tx: begin(tx, job, server, wanted))
        try:
            if abandoned:
                await self._forget_unknown(job, repository)
            excludes = game.world.exclude if game is not None else ()
            subject = _Subject(world, repository, excludes, save.id, besides=besides)
            taken = await self._take(job, subject, game.saving if game is not None else Saving())
            if taken.quiet is not taken.quiet_tag:  # what a recovery without the row would believe
                tags = [subject.tag, taken.quiet]
                again = await self._tools.store.retag(repository, taken.result.snapshot_id, tags, holds_lease=True)
                taken = replace(taken, result=replace(taken.result, snapshot_id=again))
        except BaseException as error:
            says = error.detail if isinstance(error, OverworldError) else "It was interrupted."
            says = NOTHING if isinstance(error, NothingToSave) else says
            await asyncio.shield(mark_failed(job, save, says))
            raise
        kept = await job.write(lambda tx: finish(tx, save, taken))
        SAVE_BYTES.inc(taken.result.bytes_new)
        if taken.quiet is Quiet.UNQUIETED:
            UNQUIETED.inc()
        await self._retain(job, repository, server)
        return kept

    async def _await_end(self, job: Job) -> None:
        """A deleted server is saved once its game has ended: then its world is whole for free."""
        job.say(0, 4, "Waiting for the end of the game.")
        give_up_at = monotonic() + ENDED_WITHIN_SECONDS
        while monotonic() < give_up_at:
            if not _runs(self._tools.engine.observed(job.server_id).process):
                return
            await asyncio.sleep(LOOK_SECONDS)

    def load(self, job: Job) -> Server:
        """The job's server as it is now. Blocking. Raises NotFound."""
        with self._tools.database.transaction() as tx:
            view = server_rows.load_server(tx, job.server_id)
        if view is None:
            raise NotFound("The server is gone.")
        return view.server

    async def _take(self, job: Job, subject: _Subject, saving: Saving) -> Taken:
        world = subject.world
        if subject.besides is not None:
            held = replace(subject, quiet=Quiet.STOPPED)
            result = await self._send(job, held, "Nothing runs on it.", staged=subject.besides)
            return Taken(result, Quiet.STOPPED, Quiet.STOPPED, "", None)
        before = self._tools.engine.observed(world.server_id).process
        if not _runs(before):
            result = await self._send(job, replace(subject, quiet=Quiet.STOPPED), "The game does not run.")
            after = self._tools.engine.observed(world.server_id).process
            if _runs(after):
                return Taken(result, Quiet.UNQUIETED, Quiet.STOPPED, "The game was started meanwhile.", None)
            return Taken(result, Quiet.STOPPED, Quiet.STOPPED, "", None)
        warm = await self._warm_up(job, subject, saving)
        job.say(1, 4, "Waiting until the game has written its world.")
        hold = self._quieter.hold(job, saving) if saving.before else nullcontext(Silence())
        async with hold as silence, self._staged(world, saving) as staged:
            why_not = silence.why_not
            if not saving.before and not saving.sqlite:
                why_not = "Nobody knows how to make this game hold still."
            for path, says in staged.faults.items():
                why_not = why_not or f"The database {path} could not be copied whole: {says}"
            held = replace(subject, quiet=Quiet.UNQUIETED if why_not else Quiet.QUIETED)
            parent = None if warm is None else warm.snapshot_id
            result = await self._send(job, held, "The game holds still.", staged=staged, parent=parent)
        if warm is not None:
            await self._tools.store.forget(subject.repository, [warm.snapshot_id], holds_lease=True)
            result = replace(result, bytes_new=result.bytes_new + warm.bytes_new, seconds=result.seconds + warm.seconds)
        why_not = why_not or silence.why_not  # the game may have been told to go on before the end
        quiet = Quiet.UNQUIETED if why_not else Quiet.QUIETED
        return Taken(result, quiet, held.quiet, why_not, silence.off_seconds)

    async def _warm_up(self, job: Job, subject: _Subject, saving: Saving) -> SaveResult | None:
        """Send most of it while the game still writes, where it would otherwise be held long; what that was."""

        def read(tx: Transaction) -> Save | None:
            return saves.last_kept(tx, subject.world.server_id)

        last = await job.write(read)
        is_quick = last is not None and (last.off_seconds or 0.0) <= LONG_SILENCE_SECONDS
        if not saving.before or is_quick:
            return None
        warm = replace(subject, tag=WARM_TAG)
        return await self._send(job, warm, "Most of it, while the game goes on.")

    async def _send(
        self,
        job: Job,
        subject: _Subject,
        says: str,
        *,
        staged: Staged | None = None,
        parent: str | None = None,
    ) -> SaveResult:
        def on_progress(progress: Progress) -> None:
            job.say(2, 4, f"{says} {progress.bytes_done // MIB} MiB in {progress.files_done} files looked at.")

        job.say(2, 4, says)
        return await self._tools.snapshots.save(
            subject.world,
            subject.repository,
            excludes=subject.excludes,
            staged=() if staged is None else staged.paths,
            parent=parent,
            tags=[subject.tag, subject.quiet],
            progress=on_progress,
            deadline=self._terms.deadline,
        )

    @asynccontextmanager
    async def _staged(self, world: World, saving: Saving) -> AsyncIterator[Staged]:
        if not saving.sqlite:
            yield Staged((), {})
            return
        try:
            yield await self._tools.snapshots.stage(world, saving.sqlite)
        finally:
            await asyncio.shield(self._unstage(world))

    async def _unstage(self, world: World) -> None:
        try:
            await self._tools.snapshots.unstage(world)
        except OverworldError as error:  # the next save begins by removing it
            log.warning("copies of databases are left in a world", server_id=world.server_id, error=error.detail)

    async def _forget_unknown(self, job: Job, repository: Repository) -> None:
        """Snapshots whose worker died before it could write down that they are there: no row will ever name them."""
        found = await self._tools.store.snapshots(repository)

        def unknown(tx: Transaction) -> list[str]:
            return [
                each.snapshot_id
                for each in found
                if each.tags and not any(save_keys.is_kept(tx, tag) for tag in each.tags)
            ]

        left = await job.write(unknown)
        if left:
            await self._tools.store.forget(repository, left, holds_lease=True)

    async def _retain(self, job: Job, repository: Repository, server: Server) -> None:
        """Let go of what the policy no longer keeps. The save is in the store already: what goes wrong here is told,
        and tried again after the next one."""
        job.say(3, 4, "Letting go of saves that need not be kept.")
        try:
            if await self.let_go(job, repository, server):
                await self._prune_if_due(job, repository)
        except SaveError as error:
            log.warning("retention failed", error=error.detail)
            if isinstance(error, RepositoryDamaged):
                event = NewEvent(server.id, "RetentionFailed", error.detail, Level.WARNING)
                await job.write(lambda tx: events.insert_events(tx, [event], datetime.now(UTC)))

    async def _prune_if_due(self, job: Job, repository: Repository) -> None:
        """The store is asked, and pruned, only once rows say that there may be waste enough: a look costs requests."""
        waste, kept = await job.write(lambda tx: save_keys.add_waste(tx, job.server_id, 0))
        if not prune_is_due(waste + kept, kept):
            return
        size = await self._tools.store.size(repository)
        if prune_is_due(size.bytes_stored, size.bytes_used):
            job.say(3, 4, "Making room in the save store.")
            await self._tools.store.prune(repository, holds_lease=True, deadline=self._terms.deadline)
        await job.write(lambda tx: save_keys.forget_waste(tx, job.server_id))

    async def let_go(self, job: Job, repository: Repository, server: Server) -> int:
        """Forget what the server's policy does not keep; how many saves. One that is just being restored or proven
        stays until after the next save: a restore begins with a save, after which its own would often be one too many.
        """

        def choose(tx: Transaction) -> dict[str, str]:
            kept = {save.id: save for save in saves.kept_saves(tx, server.id)}
            in_use = jobs.saves_in_use(tx)
            policy, _ = save_policies.find_policy(tx, server.id)
            going = saves_to_forget(
                [
                    Kept(save.id, save.created_at, save.bytes_new or 0, save.pinned, save.reason in ASKED)
                    for save in kept.values()
                ],
                keep_of(policy, self._terms.keep),
                find_zone(policy.time_zone or self._terms.time_zone),
            )
            return {save_id: kept[save_id].snapshot_id or "" for save_id in going if save_id not in in_use}

        return await self.forget(job, repository, await job.write(choose))

    async def forget(self, job: Job, repository: Repository, going: dict[str, str]) -> int:
        """Those saves (id to snapshot) are neither in the store nor in lists any more; how many."""
        if not going:
            return 0
        await self._tools.store.forget(repository, list(going.values()), holds_lease=True)

        def mark(tx: Transaction) -> None:
            save_keys.add_waste(tx, job.server_id, saves.mark_gone(tx, list(going), datetime.now(UTC)))

        await job.write(mark)
        return len(going)

    async def run_forget(self, job: Job) -> Done:
        """The job of kind forget."""
        wanted = job.operation.arguments.get("save_ids")
        ids = [str(each) for each in wanted] if isinstance(wanted, list) else []

        def choose(tx: Transaction) -> dict[str, str]:
            found = (saves.find_save(tx, each, None) for each in ids)
            return {
                save.id: save.snapshot_id or ""
                for save in found
                if save and save.state is SaveState.KEPT and not save.pinned
            }

        repository, _ = await self._tools.repositories.to_write(job, job.operation.account_id)
        count = await self.forget(job, repository, await job.write(choose))
        return Done(f"{count} removed.", "SaveRemoved")


def _runs(process: ProcessSeen | None) -> bool:
    return process is not None and process.phase is not Phase.STOPPED
