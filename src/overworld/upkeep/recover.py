"""Bringing an installation back on an empty machine or in an empty cluster, from its save store and its recovery key.

Each step is done whole or not at all and is skipped if it was done, so a recovery that was interrupted anywhere goes on
when it is started again: the claim (a snapshot), the facts (files), the database (one transaction), each world (one
rename, or one mark taken away), and the end (one transaction). Until then nothing starts on what is half there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from overworld import wiring, worker_wiring
from overworld.domain.errors import BadInput, Conflict, EngineUnavailable, NotFound, OverworldError, SaveStoreRefused
from overworld.domain.events import Level, NewEvent
from overworld.domain.recovery import choose_save, derive_loss
from overworld.domain.saves import Quiet, Save, SaveReason, SaveState
from overworld.domain.servers import Desired, Server
from overworld.saves import dump_marks
from overworld.saves.base import Repository, Snapshot
from overworld.saves.installation import INSTALLATION, InstallationStore
from overworld.store import dumps, events, recovery_mark, save_keys, save_policies, saves, schema
from overworld.store import recovery as rows
from overworld.store import servers as server_rows
from overworld.store.database import Database, Transaction
from overworld.upkeep.plan import Plan
from overworld.upkeep.report import Outcome, event_message
from overworld.upkeep.sites import Site
from overworld.worker.dumping import next_claim
from overworld.worker.facts import DATABASE_FILE, FILE_NAME, Facts, parse_facts
from overworld.worker.repositories import Repositories
from overworld.worker.snapshots import Snapshots, World
from overworld.worker.taking import WARM_TAG

TRIAL = (
    "This is a trial recovery: it writes nothing to the saves, which belong to the installation that they are of."
    " To make it the real one, run `overworld recovery claim`."
)
ADOPTED = "found in the save store at the recovery"
TRIES = 3
"""Of one world: a cluster may first have to bring a node for it, which takes minutes."""

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Found:
    """What the store has of one server. ``problem``: why that is not known."""

    server: Server
    snapshots: tuple[Snapshot, ...] = ()
    problem: str = ""


class Recover:
    """One recovery to a site that the caller holds. ``key`` is the recovery key, as ``parse_recovery_key`` returns it.
    Methods are called in their order."""

    def __init__(self, site: Site, store: InstallationStore, key: str, say: Say) -> None:
        settings = site.settings
        self._site = site
        self._settings = settings
        self._store = store
        self._say = say
        self._repository = worker_wiring.save_location(settings).repository(INSTALLATION, key)

    async def choose(self, at: datetime | None, *, trial: bool) -> Plan:
        """A plan by the newest dump (not after ``at``). Raises BadInput if there is none, or the key opens nothing."""
        try:
            snapshots = await self._store.snapshots(self._repository)
        except SaveStoreRefused as error:
            raise _explained(error) from error
        found = [each for each in dump_marks.dumps(snapshots) if at is None or each.at <= at]
        if not found:
            which = "" if at is None else f" from before {at:%Y-%m-%d %H:%M %Z}"
            raise BadInput(f"The save store has no dump of the database{which}.")
        facts = dump_marks.facts_of(snapshots, found[-1])
        if facts is None:
            raise BadInput("The save store has lost what belongs to the newest dump; choose an earlier one with --at.")
        newest = dump_marks.newest_claim(snapshots)
        assert newest is not None
        claim = newest[0] if trial else next_claim(newest[0])
        return Plan(found[-1].snapshot_id, facts.snapshot_id, found[-1].at, claim, trial)

    async def look(self) -> tuple[Plan, Facts]:
        """What a recovery would go by now; nothing is changed. Raises as ``choose`` does."""
        plan = await self.choose(None, trial=True)
        return plan, parse_facts(await self._read(plan.facts_id, FILE_NAME))

    async def begin(self, plan: Plan, *, again: bool) -> Facts:
        """The plan is remembered, the claim made, and the facts are here. ``again``: it was begun before."""
        facts = parse_facts(await self._read(plan.facts_id, FILE_NAME))
        self._site.check_keys(facts)
        await asyncio.to_thread(self._site.mark.write, plan)
        is_claimed = again and dump_marks.has_claim(await self._store.snapshots(self._repository), plan.claim)
        if not plan.trial and not is_claimed:
            tags = dump_marks.claim_tags(plan.claim)
            await self._store.save_bytes(self._repository, FILE_NAME, b"{}", tags=tags, holds_lease=True)
        await asyncio.to_thread(self._site.take, facts)
        return facts

    async def bring_back_database(self, plan: Plan) -> None:
        """The database is what it was at the dump, its schema this version's, and it is ours."""
        url = wiring.database_url(self._settings)
        await asyncio.to_thread(recovery_mark.clear_unused, url)
        if await asyncio.to_thread(schema.current_revision, url) is None:
            chunks = self._store.dump(self._repository, plan.dump_id, f"/{DATABASE_FILE}")
            await dumps.load_dump(url, chunks)
        await asyncio.to_thread(schema.upgrade, url)
        if not self._settings.runs_embedded_database:
            # One that had waited for its database would be at work now.
            await asyncio.to_thread(recovery_mark.check_no_roles, url)

    async def bring_back_worlds(self, plan: Plan, database: Database, snapshots: Snapshots) -> list[Outcome]:
        """Every server's world is here again, or its outcome says why not."""
        await _in(database, lambda tx: self._take_over(tx, plan))
        servers = await _in(database, _read_servers)
        present = await self._find_present(plan, servers, snapshots)
        repositories = worker_wiring.open_repositories(self._settings, database)
        places = asyncio.Semaphore(
            self._settings.jobs_per_worker if snapshots.works_here else self._settings.jobs_per_store
        )

        async def look(server: Server) -> _Found:
            async with places:
                return await self._look(repositories, server)

        found = await asyncio.gather(*map(look, servers))
        last_sign = max([plan.dumped_at, *(each.at for one in found for each in one.snapshots)])
        self._say(f"The last sign of life of the old installation is of {last_sign:%Y-%m-%d %H:%M:%S} UTC.")
        done = 0

        async def restore(one: _Found) -> Outcome:
            nonlocal done
            async with places:
                if one.server.id in present:
                    outcome = await _in(database, lambda tx: _keep(tx, one))
                else:
                    outcome = await self._bring_back(database, repositories, snapshots, one, last_sign)
            done += 1
            self._say(f"{done} of {len(found)}: {' '.join(outcome.cells()[i] for i in (0, -1))}")
            return outcome

        return list(await asyncio.gather(*map(restore, found)))

    async def end(self, database: Database, outcomes: list[Outcome]) -> None:
        """Every server's events tell of it, and the installation may be started."""

        def finish(tx: Transaction) -> None:
            if rows.end_recovery(tx):
                told = [
                    NewEvent(
                        each.server.id,
                        "Recovered" if each.is_good else "RecoveredInPart",
                        event_message(each),
                        Level.INFO if each.is_good and not each.lost else Level.WARNING,
                    )
                    for each in outcomes
                ]
                events.insert_events(tx, told, datetime.now(UTC))

        await _in(database, finish)
        await asyncio.to_thread(self._site.mark.end)

    def next_steps(self, facts: Facts) -> list[str]:
        """What is left to the operator, in sentences."""
        here = {f"OVERWORLD_{name.upper()}" for name in self._settings.model_fields_set}
        missing = {name: value for name, value in facts.settings.items() if name not in here}
        steps = [f"Set on the old machine and not here: {name}={value}" for name, value in sorted(missing.items())]
        return [*steps, *self._site.left_to_do(facts), f"Then start it: {self._site.start}."]

    # --- One server

    async def _find_present(self, plan: Plan, servers: list[Server], snapshots: Snapshots) -> frozenset[str]:
        """Those whose world was here before: it is newer than any save, and nothing overwrites it. Asked once, for
        later the worlds that came back are here too."""
        if plan.present is None:
            is_here = [await snapshots.exists(_world_of(server)) for server in servers]
            here = tuple(server.id for server, yes in zip(servers, is_here, strict=True) if yes)
            if plan.trial and here:
                raise Conflict(
                    "Worlds of this installation are here, and a trial would take them over: try it with a namespace of"
                    " games of its own."
                )
            plan = replace(plan, present=here)
            await asyncio.to_thread(self._site.mark.write, plan)
        return frozenset(plan.present or ())

    async def _look(self, repositories: Repositories, server: Server) -> _Found:
        try:
            return _Found(server, await self._store.snapshots(await repositories.find(server.id)))
        except NotFound:
            return _Found(server)
        except OverworldError as error:
            return _Found(server, problem=error.detail)

    async def _bring_back(
        self,
        database: Database,
        repositories: Repositories,
        snapshots: Snapshots,
        found: _Found,
        last_sign: datetime,
    ) -> Outcome:
        server = found.server
        if found.problem:
            return Outcome(server, problem=found.problem)
        chosen = await _in(database, lambda tx: _choose(tx, found))
        if chosen is None:
            return await _in(database, lambda tx: _begin_anew(tx, found))
        played = await _in(database, lambda tx: save_policies.read_played(tx, server.id, chosen.created_at))
        lost = derive_loss(chosen, played, last_sign)
        try:
            repository = await repositories.find(chosen.server_id)
            await self._restore(server, chosen, repository, snapshots)
        except OverworldError as error:
            return Outcome(server, chosen, lost, problem=error.detail)
        return Outcome(server, chosen, lost)

    async def _restore(self, server: Server, save: Save, repository: Repository, snapshots: Snapshots) -> None:
        assert save.snapshot_id is not None
        for tries_left in reversed(range(TRIES)):
            try:
                await snapshots.make_room(server)
                await snapshots.restore(
                    _world_of(server),
                    repository,
                    save.snapshot_id,
                    progress=lambda _: None,
                    deadline=self._settings.save_deadline,
                )
                break
            except EngineUnavailable:
                if not tries_left:
                    raise

    # --- Facts and rows

    async def _read(self, snapshot_id: str, name: str) -> bytes:
        return b"".join([chunk async for chunk in self._store.dump(self._repository, snapshot_id, f"/{name}")])

    def _take_over(self, tx: Transaction, plan: Plan) -> None:
        recovery = rows.find_recovery(tx)
        assert recovery is not None
        fence = TRIAL if plan.trial else ""
        if (recovery.claim, recovery.fence) != (plan.claim, fence):
            rows.take_over(tx, plan.claim, fence=fence)


async def _in(database: Database, work: Callable[[Transaction], T]) -> T:
    def run() -> T:
        with database.transaction() as tx:
            return work(tx)

    return await asyncio.to_thread(run)


def _world_of(server: Server) -> World:
    return World(server.id, server.number, server.world_generation)


def _read_servers(tx: Transaction) -> list[Server]:
    """Those that are wanted running first, deleted ones last."""
    views = (server_rows.load_server(tx, server_id) for server_id in rows.all_servers(tx))
    return [view.server for view in views if view is not None]


def _choose(tx: Transaction, found: _Found) -> Save | None:
    """The save to bring back, after rows and store have been made to agree."""
    _reconcile(tx, found)
    server = found.server
    return choose_save(server, saves.kept_saves(tx, server.id), rows.find_source(tx, server))


def _reconcile(tx: Transaction, found: _Found) -> None:
    now = datetime.now(UTC)
    in_store = {each.snapshot_id for each in found.snapshots}
    kept = saves.kept_saves(tx, found.server.id)
    saves.mark_gone(tx, [each.id for each in kept if each.snapshot_id not in in_store], now)
    known = {each.snapshot_id for each in kept}
    for snapshot in found.snapshots:
        names = [tag for tag in snapshot.tags if tag not in {*Quiet, WARM_TAG}]
        if snapshot.snapshot_id in known or not names or WARM_TAG in snapshot.tags:
            continue
        quiet = next((tag for tag in snapshot.tags if tag in set(Quiet)), Quiet.UNQUIETED)
        rows.adopt_save(
            tx,
            found.server,
            {
                "id": names[0],
                "snapshot_id": snapshot.snapshot_id,
                "state": SaveState.KEPT,
                "reason": SaveReason.SCHEDULE,
                "label": ADOPTED,
                "quiet": quiet,
                "created_at": snapshot.at,
                "ended_at": snapshot.at,
            },
        )


def _keep(tx: Transaction, found: _Found) -> Outcome:
    """Of a world that is here: what there is of its saves is known again."""
    if not found.problem:
        _reconcile(tx, found)
    return Outcome(found.server, was_here=True)


def _begin_anew(tx: Transaction, found: _Found) -> Outcome:
    """A server without any save: if it never had one, nothing holds it from beginning anew; else somebody may yet bring
    the saves back, so it waits for its world."""
    if save_keys.has_snapshots(tx, found.server.id):
        return Outcome(found.server, problem="its saves are not in the save store any more")
    rows.forget_world(tx, found.server.id)
    return Outcome(found.server, never_saved=found.server.desired is not Desired.DELETED)


def _explained(error: SaveStoreRefused) -> OverworldError:
    if error.reason == "WrongPassword":
        return BadInput("The recovery key does not open the dumps: it is of another installation, or was replaced.")
    if error.reason == "NoRepository":
        return BadInput(
            "There is no installation in the save store: check OVERWORLD_SAVE_STORE (bucket, prefix or folder)."
            " One that never had a recovery key cannot be brought back."
        )
    return error
