"""Carries a plan out through the engine. Makes no choices: what can go wrong is told as an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from overworld.cloud.base import Cloud
from overworld.controller.metrics import measure_engine_call
from overworld.controller.outcomes import Done, Failed, Outcome, Overtaken, Refused
from overworld.controller.planner import Plan
from overworld.controller.preparing import Terms
from overworld.controller.rows import Rows
from overworld.controller.seen import is_ended
from overworld.controller.subject import Subject
from overworld.domain.conditions import Reason
from overworld.domain.errors import BadInput, CloudRefused, EngineRefused, OverworldError
from overworld.domain.events import Level, NewEvent
from overworld.domain.games import Ready, Stop
from overworld.domain.observed import Launch, Observed, Removal, Want
from overworld.domain.servers import ServerId
from overworld.domain.worlds import WantedFolder
from overworld.engines.base import Engine
from overworld.games.launch import render_launch

BAD_SETTINGS = "BadSettings"
TRY_FOLDERS_AGAIN = timedelta(minutes=1)
CLEARING_TURN_SECONDS = 20.0

log = structlog.get_logger(__name__)

NOTHING = Launch(
    programs=(),
    arguments=(),
    environment={},
    files={},
    stop=Stop(),
    ready=Ready(line=""),
    roster=None,
    accepts_commands=False,
    log_file=None,
    install="",
)
"""What to launch where nothing can be: enough to stop what runs, by the stop of its own start."""


class Executor:
    """One plan at a time per server; any number of servers at once. Whatever goes wrong is an outcome, never raised."""

    def __init__(self, rows: Rows, engine: Engine, cloud: Cloud, terms: Terms, clock: Callable[[], datetime]) -> None:
        self._rows = rows
        self._engine = engine
        self._cloud = cloud
        self._terms = terms
        self._clock = clock
        most = engine.most_applied_at_once
        self._turns: AbstractAsyncContextManager[None] = nullcontext() if most is None else asyncio.Semaphore(most)

    async def carry_out(self, subject: Subject, plan: Plan) -> Outcome:
        """Do all of the plan that concerns the engine and the cloud, in order, until something goes wrong: first what
        the game needs, then, whatever became of that, what workers wait for."""
        outcome = await self._serve_game(subject, plan)
        served = await self._serve_workers(subject.server.id, plan)
        return served if isinstance(outcome, Done) else outcome

    async def _serve_game(self, subject: Subject, plan: Plan) -> Outcome:
        server = subject.server
        try:
            # The cloud has a deadline of its own.
            apply = await self._with_folder(plan)
            if plan.confirm and not await self._rows.is_still_deleted(server.id, server.generation):
                return Overtaken()
            if apply is not None:
                launch = NOTHING if plan.is_stop else self._render(subject)
                # Waiting for a turn is no fault of the engine.
                async with self._turns, self._deadline():
                    with measure_engine_call("apply"):
                        await self._engine.apply(apply, launch)
            await self._delete(plan.delete)
            for generation in plan.folders_last:
                await self._cloud.remove_folder(server.id, generation)
            if plan.ensure_address:
                return await self._ensure_address(subject)
            if plan.release_address:
                await self._cloud.release_address(server.id)
        except Exception as error:
            return self._explain(error)
        return Done()

    async def _serve_workers(self, server_id: ServerId, plan: Plan) -> Outcome:
        """What they have begun in the share gets its folder; what nobody needs there goes, as far as one turn comes: a
        folder may hold very many files, and meanwhile somebody may wish for something else."""
        try:
            for generation in plan.place:
                folder = await self._make_folder(server_id, generation)
                async with self._deadline():
                    with measure_engine_call("place"):
                        await self._engine.place_world(server_id, generation, folder)
            with suppress(TimeoutError):  # the next look goes on
                async with asyncio.timeout(CLEARING_TURN_SECONDS):
                    for removal in plan.clear:
                        assert removal.world_generation is not None
                        # First, while the claim tells of it: nobody else remembers it.
                        await self._cloud.remove_folder(server_id, removal.world_generation)
                        await self._delete([removal])
        except (CloudRefused, EngineRefused) as error:
            told = f"No folder for another world of it can be made in the share, or removed from it: {error.detail}"
            return Refused(Reason.NO_FOLDER, told, error.retry_after or TRY_FOLDERS_AGAIN)
        except Exception as error:
            return self._explain(error)
        return Done()

    async def _delete(self, removals: Iterable[Removal]) -> None:
        async with self._deadline():
            for removal in removals:
                with measure_engine_call("delete"):
                    await self._engine.delete(removal)

    async def _make_folder(self, server_id: ServerId, generation: int) -> WantedFolder:
        folder = await self._cloud.ensure_folder(server_id, generation)
        return WantedFolder(folder.driver, folder.attributes, folder.mount_options)

    def _deadline(self) -> asyncio.Timeout:
        return asyncio.timeout(self._terms.deadline.total_seconds())

    async def _with_folder(self, plan: Plan) -> Want | None:
        """What is to be applied, with the folder for its world, which is there then."""
        want = plan.apply
        if want is None or not plan.ensure_folder:
            return want
        return replace(want, folder=await self._make_folder(want.server_id, want.world_generation))

    async def _ensure_address(self, subject: Subject) -> Outcome:
        """Make it, mend it, or find it well; what it is now is stored before anything is built on it."""
        lease = subject.address
        assert lease is not None  # or there is nothing to ensure
        address = await self._cloud.ensure_address(lease.server_id, lease.label)
        changed = replace(
            lease,
            resource=address.resource,
            ip=address.ip,
            fqdn=address.fqdn,
            annotations=address.annotations,
            # What was made before and does not lead to its server: have the cluster's cloud controller try again now.
            attempt=lease.attempt + (lease.resource is not None),
            checked_at=self._clock(),
        )
        events: list[NewEvent] = []
        if lease.ip is not None and lease.ip != address.ip:
            lost = f"Its address {lease.ip} was lost in the cloud; its new one is {address.ip}."
            events.append(NewEvent(lease.server_id, "AddressChanged", lost, Level.WARNING))
        await self._rows.store_address(self._terms.epoch, changed, events, self._clock())
        return Overtaken()

    def _explain(self, error: Exception) -> Outcome:
        match error:
            case EngineRefused() | CloudRefused():
                # Repeated at every try; the owner's condition and event tell it once.
                log.debug("refused", reason=error.reason, detail=error.detail)
                return Refused(error.reason, error.detail, error.retry_after)
            case BadInput():  # the catalogue's entry changed under a server that was made with the old one
                log.info("the game cannot be rendered", detail=error.detail)
                return Refused(BAD_SETTINGS, f"{error.detail} Change the server's variables.", retry_after=None)
            case TimeoutError():
                log.warning("the engine took too long", deadline_seconds=self._terms.deadline.total_seconds())
                return Failed("The engine takes too long to answer.")
            case OverworldError():
                log.warning("a fault that should pass", error=type(error).__name__, detail=error.detail)
                return Failed(error.detail)
            case _:
                log.error("a fault inside the controller or the engine", exc_info=error)
                return Failed("Something went wrong inside Overworld; its log tells what.")

    async def stop_orphan(self, server_id: ServerId, observed: Observed) -> Outcome:
        """Stop what runs of a server that has no rows. Nothing of it is removed."""
        process = observed.process
        if not observed.complete:
            return Failed("The engine is still looking around.")
        if process is None or is_ended(process):
            return Done()
        log.warning("a game without a server in the database runs; it is stopped, its world kept", server_id=server_id)
        want = Want(
            server_id=server_id,
            number=0,
            running=False,
            restarts=process.restarts,
            spec_hash="",
            world_generation=0,
            memory_mib=0,
            endpoints=(),
        )
        try:
            async with self._deadline():
                with measure_engine_call("apply"):
                    await self._engine.apply(want, NOTHING)
        except Exception:
            log.exception("a game without a server could not be stopped", server_id=server_id)
            return Failed("It could not be stopped.")
        return Done()

    def _render(self, subject: Subject) -> Launch:
        assert subject.game is not None  # nothing is started or made without it
        server = subject.server
        layout = self._engine.layout(server.id, server.world_generation)
        return render_launch(
            subject.game, server, layout, subject.endpoints, programs_folder=self._terms.programs_folder
        )
