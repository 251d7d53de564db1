"""The controller as a whole, on PostgreSQL: what owners ask for comes true, whoever dies on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from integration.controller.conftest import Site
from overworld.controller import role
from overworld.domain.conditions import ConditionType, Reason, find_condition
from overworld.domain.errors import EngineRefused, EngineUnavailable, Unavailable
from overworld.domain.observed import Phase
from overworld.domain.operations import Outcome
from overworld.domain.state import State, derive_state
from overworld.engines.memory import Behaviour
from overworld.services import servers as services
from overworld.store import servers as rows
from overworld.store.database import Database
from overworld.store.lease import CONTROLLER, acquire
from overworld.store.servers import all_ids
from waiting import eventually

StatementCounter = Callable[[Database], AbstractContextManager[list[str]]]


def looks_done() -> float:
    """How many looks at a server ended well so far."""
    return REGISTRY.get_sample_value("overworld_controller_reconciles_total", {"outcome": "done"}) or 0.0


def phase_of(site: Site, server_id: str) -> Phase | None:
    """The phase of the process in the world itself."""
    process = site.world.observe(server_id).process
    return None if process is None else process.phase


async def test_a_server_lives_from_create_to_purge(site: Site) -> None:
    """Create, stop, start, restart, delete without retention: each operation succeeds and nothing is left."""
    async with site.controller():
        key = site.create()
        record = await site.until_state(key, State.RUNNING)
        assert record.status.endpoints[0].host == "play.example"
        assert record.status.endpoints[0].port in site.settings.ports
        port = record.status.endpoints[0].port
        for wish, state in (
            (services.stop, State.STOPPED),
            (services.start, State.RUNNING),
            (services.restart, State.RUNNING),
        ):
            ended = await site.until_ended(site.ask(wish, key))
            assert ended.outcome is Outcome.SUCCEEDED, ended
            record = await site.until_state(key, state)
            assert record.status.endpoints[0].port == port
        assert not record.open_operations
        ended = await site.until_ended(site.ask(services.delete, key, timedelta()))
        assert ended.outcome is Outcome.SUCCEEDED
        await eventually(lambda: site.record(key) is None, 20, "the rows are gone")
    assert key not in site.world.machines
    reasons = site.reasons(key)
    assert reasons.count("Answering") == 3
    assert reasons.count("Stopped") == 2
    assert "SaveSeen" in reasons
    assert reasons[-1] == "Purged"


async def test_a_deleted_server_keeps_its_world_until_its_retention_has_passed(site: Site) -> None:
    """Deleted, it is stopped and keeps world and address; undeleted, it is as before."""
    async with site.controller():
        key = site.create()
        before = await site.until_state(key, State.RUNNING)
        await site.until_ended(site.ask(services.delete, key, timedelta(hours=1)))
        await site.until_state(key, State.DELETED)
        assert site.world.observe(key).worlds == {1}
        await site.until_ended(site.ask(services.undelete, key))
        await site.until_ended(site.ask(services.start, key))
        after = await site.until_state(key, State.RUNNING)
    assert after.status.endpoints == before.status.endpoints


async def test_settled_servers_cost_no_write(site: Site, statement_counter: StatementCounter) -> None:
    """Looking at settled servers reads, and writes nothing at all."""
    async with site.controller():
        keys = [site.create(f"chess{number}") for number in range(20)]
        for key in keys:
            await site.until_state(key, State.RUNNING)
    before = looks_done()
    async with site.controller() as engine:
        await eventually(lambda: looks_done() >= before + len(keys), 10, "it looked at all at its start")
        with statement_counter(site.database) as statements:
            for key in keys:
                engine.world.watchers[0](key)
            await eventually(lambda: looks_done() >= before + 2 * len(keys), 10, "they were all looked at")
    writes = [sql for sql in statements if "server_status" in sql and sql.lstrip().startswith("INSERT")]
    assert not writes
    assert not [sql for sql in statements if "event" in sql]


async def test_the_stored_state_is_the_derived_one(site: Site) -> None:
    """After all kinds of ends the state column says what derive_state says."""
    async with site.controller():
        keys = {name: site.create(name) for name in ("runs", "stops", "crashes", "goes")}
        for key in keys.values():
            await site.until_state(key, State.RUNNING)
        site.ask(services.stop, keys["stops"])
        site.ask(services.delete, keys["goes"], timedelta(days=1))
        site.world.behaviours[keys["crashes"]] = Behaviour(ends_after=timedelta(seconds=60))
        for _ in range(3):
            site.world.end(keys["crashes"])
        await site.until_state(keys["stops"], State.STOPPED)
        await site.until_state(keys["goes"], State.DELETED)
    with site.database.transaction() as tx:
        found = tx.execute(text("SELECT server_id, state FROM server_status")).all()
    stored = {row.server_id: row.state for row in found}
    for key in keys.values():
        record = site.record(key)
        assert record is not None
        assert stored[key] == derive_state(record.server, record.status)


async def test_a_lost_notification_is_healed_by_the_poll(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LISTEN a new wish is still found."""

    class DeafListener:
        def __init__(self, *_args: object, **_more: object) -> None: ...
        def start(self) -> None: ...
        def close(self) -> None: ...

    monkeypatch.setattr(role, "Listener", DeafListener)
    monkeypatch.setattr(role, "POLL_SECONDS", 0.2)
    async with site.controller():
        key = site.create()
        await site.until_state(key, State.RUNNING)
        site.ask(services.stop, key)
        await site.until_state(key, State.STOPPED)


async def test_lost_wakes_are_healed_by_the_resync(site: Site) -> None:
    """An engine that tells nothing: a look at every server now and then still finds what happened."""
    site.settings = site.settings.model_copy(update={"resync_interval": timedelta(seconds=0.2)})
    async with site.controller(wake_through=lambda _wake, _key: None):
        key = site.create()
        await site.until_state(key, State.RUNNING)
        site.ask(services.stop, key)
        await site.until_state(key, State.STOPPED)


async def test_a_newer_wish_aborts_the_older_one(site: Site) -> None:
    """Two wishes in a row: the first ends aborted, the second succeeds, none stays open."""
    site_stop = None
    async with site.controller():
        key = site.create()
        await site.until_state(key, State.RUNNING)
        site.world.behaviours[key] = Behaviour(stop_takes=timedelta(seconds=1))
        site_stop = site.ask(services.stop, key)
        site_start = site.ask(services.start, key)
        assert (await site.until_ended(site_start)).outcome is Outcome.SUCCEEDED
    assert site.operation(site_stop).outcome is Outcome.ABORTED


async def test_two_controllers_never_work_at_once(site: Site, quick_lease: None) -> None:
    """Of two, one stands by; when the first ends cleanly the second takes over at once."""
    starts: list[str] = []
    site.world.on_change = lambda key, what: starts.append(key) if what.startswith("started") else None

    def holder() -> object:
        with site.database.transaction() as tx:
            return tx.execute(text("SELECT holder FROM lease")).scalar()

    async with site.controller("first"):
        await eventually(lambda: holder() == "first", 10, "the first one leads")
        keys = [site.create(f"chess{number}") for number in range(10)]
        async with site.controller("second"):
            for key in keys:
                await site.until_state(key, State.RUNNING)
            assert holder() == "first"
    assert sorted(starts) == sorted(keys)


async def test_a_standby_takes_over_from_one_that_died(site: Site, quick_lease: None) -> None:
    """A holder that never renews loses the lease when it runs out, not before."""
    with site.database.transaction() as tx:
        dead = acquire(tx, CONTROLLER, "dead", timedelta(seconds=2))
    assert dead is not None
    async with site.controller("standby"):
        key = site.create()
        await site.until_state(key, State.RUNNING)
    with site.database.transaction() as tx:
        assert tx.execute(text("SELECT epoch FROM lease")).scalar() == dead.epoch + 1


async def test_a_controller_that_lost_its_lease_writes_nothing_more(site: Site, quick_lease: None) -> None:
    """The lease is taken away in mid-work: nothing of the old leadership is stored, the next one heals everything."""
    blocked: list[str] = []
    async with site.controller("first") as engine:
        running = site.create("running")
        await site.until_state(running, State.RUNNING)
        key = site.create("hanging", start=False)
        await site.until_state(key, State.STOPPED)
        engine.hangs.add(key)
        site.ask(services.start, key)

        def is_seen() -> bool:
            blocked.append(key)
            return phase_of(site, key) is not Phase.READY

        await eventually(is_seen, 5, "the start hangs")
        with site.database.transaction() as tx:
            tx.execute(text("UPDATE lease SET holder = 'thief', epoch = epoch + 1"))
            before = tx.execute(
                text("SELECT observed_generation FROM server_status WHERE server_id = :key"), {"key": key}
            ).scalar()
        engine.hangs.clear()
        site.ask(services.stop, running)
        await eventually(lambda: engine.world.watchers, 5, "the engine is kept")
        with site.database.transaction() as tx:
            after = tx.execute(
                text("SELECT observed_generation FROM server_status WHERE server_id = :key"), {"key": key}
            ).scalar()
            assert before == after
            tx.execute(text("UPDATE lease SET expires_at = now()"))
        await site.until_state(key, State.RUNNING)
        await site.until_state(running, State.STOPPED)


async def test_a_refusal_tells_the_owner_what_to_do_and_is_tried_again(site: Site) -> None:
    """The engine refuses: the operation fails with its sentence; when it can be done, it is."""
    broken = [True]

    def fault(call: str, _key: str) -> Exception | None:
        if call == "apply" and broken[0]:
            return EngineRefused(
                "ProgramMissing", "chess is not installed: apt install chess.", retry_after=timedelta(seconds=1)
            )
        return None

    async with site.controller(fault=fault):
        key = site.create()
        record = await site.until_state(key, State.FAILED)
        placed = find_condition(record.status.conditions, ConditionType.PLACED)
        assert placed is not None
        assert (placed.reason, placed.message) == ("ProgramMissing", "chess is not installed: apt install chess.")
        assert not record.open_operations
        broken[0] = False
        await site.until_state(key, State.RUNNING)
    assert site.reasons(key).count("ProgramMissing") == 1


async def test_a_passing_fault_of_the_engine_is_not_told(site: Site) -> None:
    """Three failures in a row end in a success, and no event speaks of them."""
    faults = [EngineUnavailable("Busy.") for _ in range(3)]
    async with site.controller(fault=lambda _call, _key: faults.pop() if faults else None):
        key = site.create()
        await site.until_state(key, State.RUNNING)
    assert "EngineUnavailable" not in site.reasons(key)


async def test_a_game_without_a_server_is_stopped_and_its_world_kept(site: Site) -> None:
    """Rows that are gone (an old backup was played back): the game is stopped gracefully, nothing is removed."""
    async with site.controller():
        key = site.create()
        await site.until_state(key, State.RUNNING)
    with site.database.transaction() as tx:
        for table in ("port_lease", "server_status", "server"):
            column = "id" if table == "server" else "server_id"
            tx.execute(text(f"DELETE FROM {table} WHERE {column} = :key"), {"key": key})
    async with site.controller():
        await eventually(lambda: phase_of(site, key) is Phase.STOPPED, 10, "the orphan is stopped")
    assert site.world.observe(key).worlds == {1}


async def test_a_game_that_left_the_catalogue_runs_on_and_can_be_stopped(site: Site) -> None:
    """Its server says so, restart fails with the sentence, stop works."""
    async with site.controller():
        key = site.create()
        await site.until_state(key, State.RUNNING)
        entries, site.shelf.entries = site.shelf.entries, {}
        ended = await site.until_ended(site.ask(services.restart, key))
        assert (ended.outcome, ended.reason) == (Outcome.FAILED, Reason.GAME_UNKNOWN)
        assert phase_of(site, key) is Phase.READY
        ended = await site.until_ended(site.ask(services.stop, key))
        assert ended.outcome is Outcome.SUCCEEDED
        site.shelf.entries = entries


async def test_no_port_is_free(site: Site) -> None:
    """The range is used up: the owner reads it; when a port becomes free the server starts."""
    site.settings = site.settings.model_copy(update={"port_range": "30000-30001"})
    async with site.controller():
        first, second = site.create("one"), site.create("two")
        await site.until_state(first, State.RUNNING)
        await site.until_state(second, State.RUNNING)
        third = site.create("three")
        record = await site.until_state(third, State.FAILED)
        placed = find_condition(record.status.conditions, ConditionType.PLACED)
        assert placed is not None
        assert placed.reason == Reason.NO_PORT_FREE
        site.ask(services.delete, first, timedelta())
        await eventually(lambda: site.record(first) is None, 20, "the first one is purged")
        site.ask(services.start, third)
        await site.until_state(third, State.RUNNING)


async def test_an_undelete_wins_against_the_purge_that_read_before_it(site: Site) -> None:
    """The controller reads the spec again under a lock before it removes a world for good."""
    from overworld.controller.rows import DatabaseRows

    async with site.controller():
        key = site.create()
        await site.until_state(key, State.RUNNING)
        await site.until_ended(site.ask(services.delete, key, timedelta(hours=1)))
        record = await site.until_state(key, State.DELETED)
    view = DatabaseRows(site.database)
    assert await view.is_still_deleted(key, record.server.generation)
    site.ask(services.undelete, key)
    assert not await view.is_still_deleted(key, record.server.generation)
    assert not await view.is_still_deleted("nobody", 1)


async def test_postgresql_may_go_away_and_come_back(
    site: Site, quick_lease: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing answers for a while: no game is touched, and afterwards the work goes on by itself."""
    away = [False]
    open_transaction = Database.transaction

    def transaction(self: Database) -> object:
        if away[0]:
            raise Unavailable("The database does not answer.")
        return open_transaction(self)

    async with site.controller():
        key = site.create()
        await site.until_state(key, State.RUNNING)
        second = site.create("second", start=False)
        await site.until_state(second, State.STOPPED)
        monkeypatch.setattr(Database, "transaction", transaction)
        away[0] = True
        await eventually(
            lambda: REGISTRY.get_sample_value("overworld_controller_is_leader") == 0, 10, "it stops leading in time"
        )
        assert phase_of(site, key) is Phase.READY
        away[0] = False
        site.ask(services.start, second)
        await site.until_state(second, State.RUNNING)


async def test_a_restarted_controller_finishes_what_was_begun(site: Site) -> None:
    """Wishes that came while no controller was there are carried out by the next one."""
    async with site.controller("one"):
        key = site.create()
        await site.until_state(key, State.RUNNING)
    site.ask(services.stop, key)
    other = site.create("other")
    async with site.controller("two"):
        await site.until_state(key, State.STOPPED)
        await site.until_state(other, State.RUNNING)
    with site.database.transaction() as tx:
        assert set(all_ids(tx)) == {key, other}
        assert not rows.due_ids(tx)
