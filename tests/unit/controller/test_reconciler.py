"""Faults of one server touch no other: what hangs, what cannot be stored, what cannot be planned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from datetime import timedelta

import pytest

from controlling import GAME, Clock, MemoryRows, Shelf, make_server
from overworld.cloud.none import NoCloud
from overworld.controller.preparing import Terms
from overworld.controller.reconciler import Reconciler
from overworld.controller.workqueue import WorkQueue
from overworld.domain.conditions import ConditionType, Reason, find_condition
from overworld.domain.errors import EngineRefused, EngineUnavailable, Unavailable
from overworld.domain.games import Protocol, Variable, VariableKind
from overworld.domain.observed import Launch, Phase, Want
from overworld.domain.operations import OperationKind, Outcome
from overworld.domain.servers import Desired
from overworld.domain.state import State
from overworld.engines.memory import MemoryEngine, MemoryWorld
from overworld.store.lease import LeaseLost
from waiting import eventually


class Orderly(MemoryEngine):
    """Wants two servers at once, and takes its time for each."""

    most_applied_at_once = 2

    def __init__(self, world: MemoryWorld, seconds: float) -> None:
        super().__init__(world)
        self.applied = 0
        self._seconds = seconds

    async def apply(self, want: Want, launch: Launch) -> None:
        await asyncio.sleep(self._seconds)
        await super().apply(want, launch)
        self.applied += 1


class Bench:
    """A reconciler at work on memory alone; real time but for the clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.rows = MemoryRows(self.clock)
        self.world = MemoryWorld(clock=self.clock)
        self.engine = MemoryEngine(self.world)
        self.queue = WorkQueue()
        self.terms = Terms(epoch=1, host="play.example", ports=range(30000, 30500), deadline=timedelta(seconds=0.2))
        self.shelf = Shelf(GAME)
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to work."""
        await self.engine.start(self.queue.add)
        reconciler = Reconciler(
            self.rows, self.engine, self.shelf, self.queue, self.terms, cloud=NoCloud(), clock=self.clock
        )
        self.task = asyncio.create_task(reconciler.run())

    def create(self, key: str, **changes: object) -> None:
        """A new server on the queue."""
        self.rows.insert(make_server(key, **changes))
        self.queue.add(key)

    def state(self, key: str) -> State:
        """The stored one."""
        return self.rows.rows[key].state

    def reason(self, key: str, kind: ConditionType = ConditionType.PLACED) -> str | None:
        """The reason of a stored condition."""
        found = find_condition(self.rows.rows[key].status.conditions, kind)
        return found.reason if found is not None else None

    async def until(self, key: str, state: State) -> None:
        """Wait for a stored state."""
        await eventually(lambda: self.state(key) is state, 10, f"{key} is {state}")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench whose reconciler ends with the test."""
    bench = Bench()
    yield bench
    bench.queue.close()
    if bench.task is not None and not bench.task.done():
        await asyncio.wait([bench.task], timeout=5)
        bench.task.cancel()
        await asyncio.wait([bench.task])
    await bench.engine.close()


async def test_a_server_that_hangs_holds_up_nobody(bench: Bench) -> None:
    """50 engine calls that never return: others are started meanwhile, and those are tried again."""
    stuck = [f"stuck{number}" for number in range(50)]
    bench.engine.hangs.update(stuck)
    await bench.start()
    for key in stuck:
        bench.create(key)
    bench.create("fine")
    await bench.until("fine", State.RUNNING)
    bench.engine.hangs.clear()
    for key in stuck:
        await bench.until(key, State.RUNNING)


async def test_waiting_for_a_turn_is_no_fault(bench: Bench) -> None:
    """Servers that wait behind others for longer than the engine may take start all the same, at the first try."""
    bench.engine = engine = Orderly(bench.world, bench.terms.deadline.total_seconds() / 4)
    keys = [f"chess{number}" for number in range(20)]
    for key in keys:
        bench.create(key)
    await bench.start()
    for key in keys:
        await bench.until(key, State.RUNNING)
    assert engine.applied == 20


async def test_a_status_that_cannot_be_stored_holds_up_nobody(bench: Bench) -> None:
    """One poisoned row in a batch: the others are stored, the one is tried again with back-off."""
    poisoned = True

    def fault(call: str, keys: Collection[str]) -> Exception | None:
        return ValueError("not to be stored") if poisoned and call == "write" and "poison" in keys else None

    bench.rows.fault = fault
    bench.create("poison")
    for number in range(20):
        bench.create(f"fine{number}")
    await bench.start()
    for number in range(20):
        await bench.until(f"fine{number}", State.RUNNING)
    assert bench.state("poison") is State.PENDING
    poisoned = False
    await bench.until("poison", State.RUNNING)


async def test_a_row_that_cannot_be_read_holds_up_nobody(bench: Bench) -> None:
    """Nor does one that cannot be planned."""

    def fault(call: str, keys: Collection[str]) -> Exception | None:
        return ValueError("that is no condition") if call == "load" and "poison" in keys else None

    bench.rows.fault = fault
    bench.create("poison")
    bench.create("odd", retired_worlds=(None,))
    bench.create("fine")
    await bench.start()
    await bench.until("fine", State.RUNNING)
    assert bench.task is not None
    assert not bench.task.done()


async def test_a_fault_of_the_database_costs_no_server_its_back_off(bench: Bench) -> None:
    """It goes away between reading and writing: everything is done again, at once when it is back."""
    away = True

    def fault(call: str, _keys: Collection[str]) -> Exception | None:
        return Unavailable("Away.") if away and call in {"write", "load"} else None

    bench.rows.fault = fault
    for number in range(30):
        bench.create(f"chess{number}")
    await bench.start()
    await eventually(lambda: bench.queue.depth == 30, 5, "they wait")
    assert all(bench.queue.failures(f"chess{number}") == 0 for number in range(30))
    away = False
    for number in range(30):
        await bench.until(f"chess{number}", State.RUNNING)


async def test_a_lost_lease_ends_all_work(bench: Bench) -> None:
    """The first write that is refused ends the reconciler; calls under way are cancelled."""
    bench.engine.hangs.add("stuck")
    bench.create("stuck")
    bench.rows.epoch = 2
    bench.create("chess")
    await bench.start()
    assert bench.task is not None
    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(bench.task, 5)
    assert raised.group_contains(LeaseLost)
    assert bench.rows.writes == 0


async def test_a_fault_that_lasts_is_told_and_taken_back(bench: Bench) -> None:
    """After five failures in a row the owner reads of it; when it is over, no more."""
    away = [True]
    bench.engine.fault = lambda _call, _key: EngineUnavailable("The disk does not answer.") if away[0] else None
    bench.create("chess")
    await bench.start()
    for _ in range(4):
        await eventually(lambda: bench.queue.depth == 0, 5, "it was tried")
        bench.queue.add("chess")
    await eventually(lambda: bench.reason("chess") == Reason.ENGINE_UNAVAILABLE, 20, "it is told")
    away[0] = False
    bench.queue.add("chess")
    await bench.until("chess", State.RUNNING)
    assert bench.reason("chess") == Reason.INSTALLED


async def test_a_refusal_without_a_time_waits_for_an_edit(bench: Bench) -> None:
    """Nothing is tried again by itself; the failed operation says why."""
    calls: list[str] = []

    def fault(call: str, _key: str) -> Exception | None:
        calls.append(call)
        return EngineRefused("ProgramMissing", "Install it.", retry_after=None) if len(calls) == 1 else None

    bench.engine.fault = fault
    bench.create("chess")
    await bench.start()
    await bench.until("chess", State.FAILED)
    assert [operation.outcome for operation in bench.rows.operations.values()] == [Outcome.FAILED]
    assert (bench.reason("chess"), bench.reason("chess", ConditionType.READY)) == ("ProgramMissing", "Blocked")
    assert calls == ["apply"]
    bench.rows.edit("chess", memory_mib=256)
    bench.queue.add("chess")
    await bench.until("chess", State.RUNNING)


async def test_settings_that_no_longer_fit_the_game_are_told(bench: Bench) -> None:
    """The catalogue's entry changed: a restart fails with the sentence and what runs keeps running; a stop works."""
    bench.create("chess", variables={"size": 99})
    await bench.start()
    await bench.until("chess", State.RUNNING)
    size = Variable("size", VariableKind.INTEGER, "Of the board.", 8, minimum=1, maximum=10)
    bench.shelf.entries = {GAME.slug: replace(GAME, variables=(size,), revision="2")}
    bench.rows.wish("chess", OperationKind.RESTART, restarts=1)
    bench.queue.add("chess")
    await bench.until("chess", State.FAILED)
    assert (bench.reason("chess"), bench.reason("chess", ConditionType.READY)) == ("BadSettings", "Blocked")
    assert bench.rows.operations["op1"].outcome is Outcome.FAILED
    process = bench.world.observe("chess").process
    assert process is not None
    assert process.phase is Phase.READY
    bench.rows.wish("chess", OperationKind.STOP, desired=Desired.STOPPED)
    bench.queue.add("chess")
    await bench.until("chess", State.STOPPED)


async def test_ports_that_somebody_else_uses_are_not_offered(bench: Bench) -> None:
    """Leased ones and those that the machine uses are passed over, until there is none left."""
    bench.terms = replace(bench.terms, ports=range(30000, 30003))
    bench.world.taken_ports.add((Protocol.UDP, 30001))
    await bench.start()
    for key in ("one", "two"):
        bench.create(key)
        await bench.until(key, State.RUNNING)
    ports = {bench.rows.rows[key].leases[0].port for key in ("one", "two")}
    assert ports == {30000, 30002}
    bench.create("three")
    await bench.until("three", State.FAILED)
    assert bench.reason("three") == Reason.NO_PORT_FREE
    bench.rows.wish("one", OperationKind.DELETE, desired=Desired.DELETED, purge_at=bench.clock.now)
    bench.queue.add("one")
    await eventually(lambda: "one" not in bench.rows.rows, 10, "it is purged")
    bench.queue.add("three")
    await bench.until("three", State.RUNNING)


async def test_an_undelete_in_the_last_moment_wins(bench: Bench) -> None:
    """Read as deleted, marked, and undeleted before the second look: nothing is removed."""
    await bench.start()
    bench.create("chess")
    await bench.until("chess", State.RUNNING)

    def undelete_first(call: str, _keys: Collection[str]) -> None:
        if call == "is_still_deleted":
            bench.rows.wish("chess", OperationKind.UNDELETE, desired=Desired.STOPPED, purge_at=None)

    bench.rows.fault = undelete_first
    bench.rows.wish("chess", OperationKind.DELETE, desired=Desired.DELETED, purge_at=bench.clock.now)
    bench.queue.add("chess")
    await bench.until("chess", State.STOPPED)
    assert bench.world.observe("chess").worlds == {1}
