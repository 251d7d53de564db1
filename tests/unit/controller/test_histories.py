"""Random histories of wishes, faults, stale caches, lost and reordered wakes, and controllers that die: the world stays
safe at every step, and ends as its owners last asked once the faults stop."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlling import GAME, make_server
from histories import Installation
from overworld.controller.planner import plan
from overworld.controller.seen import is_ended
from overworld.controller.subject import Subject
from overworld.domain.conditions import ConditionType, find_condition
from overworld.domain.operations import OperationKind, Outcome
from overworld.domain.servers import Desired, Endpoint, RetiredWorld
from overworld.domain.state import derive_state
from overworld.engines.memory import Behaviour

MOST_SERVERS = 3
servers = st.integers(0, MOST_SERVERS - 1)
times = st.integers(1, 3)


class Histories(Installation, RuleBasedStateMachine):
    """Whatever may happen to an installation, in any order."""

    @initialize()
    def first_controller(self) -> None:
        self.start_controller()

    def teardown(self) -> None:
        try:
            self.everything_settles()
        finally:
            self.end_controller()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    # Owners

    @precondition(lambda self: len(self.rows.rows) < MOST_SERVERS)
    @rule(desired=st.sampled_from([Desired.RUNNING, Desired.STOPPED]))
    def create(self, desired: Desired) -> None:
        self.created += 1  # an id is never used twice
        key = f"chess{self.created}"
        self.rows.insert(make_server(key, desired=desired, created_at=self.clock.now))
        self.queue.add(key)

    @rule(index=servers, told=st.booleans())
    def start(self, index: int, told: bool) -> None:
        if key := self.pick(index, is_deleted=False):
            self.rows.wish(key, OperationKind.START, desired=Desired.RUNNING)
            self.tell(key, told)

    @rule(index=servers, told=st.booleans())
    def stop(self, index: int, told: bool) -> None:
        if key := self.pick(index, is_deleted=False):
            self.rows.wish(key, OperationKind.STOP, desired=Desired.STOPPED)
            self.tell(key, told)

    @rule(index=servers, told=st.booleans())
    def restart(self, index: int, told: bool) -> None:
        if key := self.pick(index, is_deleted=False):
            restarts = self.rows.rows[key].server.restarts + 1
            self.rows.wish(key, OperationKind.RESTART, desired=Desired.RUNNING, restarts=restarts)
            self.tell(key, told)

    @rule(index=servers, memory_mib=st.sampled_from([128, 256]), told=st.booleans())
    def edit(self, index: int, memory_mib: int, told: bool) -> None:
        if key := self.pick(index, is_deleted=False):
            self.rows.edit(key, memory_mib=memory_mib)
            self.tell(key, told)

    @rule(index=servers, hours=st.integers(0, 2))
    def put_a_new_world(self, index: int, hours: int) -> None:
        if key := self.pick(index, is_deleted=False):
            server = self.rows.rows[key].server
            if server.world_generation not in self.world.observe(key).worlds:
                return  # a restore waits until its server has its place
            self.world.make_world(key, server.world_generation + 1)
            retired = RetiredWorld(server.world_generation, self.clock.now + timedelta(hours=hours))
            self.rows.edit(
                key,
                world_generation=server.world_generation + 1,
                retired_worlds=(*server.retired_worlds, retired),
            )
            self.queue.add(key)

    @rule(index=servers, hours=st.integers(0, 2), told=st.booleans())
    def delete(self, index: int, hours: int, told: bool) -> None:
        if key := self.pick(index, is_deleted=False):
            purge_at = self.clock.now + timedelta(hours=hours)
            self.rows.wish(
                key, OperationKind.DELETE, desired=Desired.DELETED, deleted_at=self.clock.now, purge_at=purge_at
            )
            self.tell(key, told)

    @rule(index=servers, told=st.booleans())
    def undelete(self, index: int, told: bool) -> None:
        if key := self.pick(index, is_deleted=True):
            row = self.rows.rows[key]
            placed = find_condition(row.status.conditions, ConditionType.PLACED)
            is_marked = placed is not None and placed.reason == "Purged"
            if not is_marked and row.server.purge_at is not None and row.server.purge_at > self.clock.now:
                self.rows.wish(key, OperationKind.UNDELETE, desired=Desired.STOPPED, deleted_at=None, purge_at=None)
                self.tell(key, told)

    # Games

    @rule(
        index=servers,
        behaviour=st.builds(
            Behaviour,
            ready_after=st.sampled_from([timedelta(0), timedelta(seconds=5), None]),
            ends_after=st.sampled_from([None, None, timedelta(seconds=3)]),
            out_of_memory=st.booleans(),
            stop_takes=st.sampled_from([timedelta(0), timedelta(seconds=5), None]),
            saves=st.booleans(),
        ),
    )
    def behave(self, index: int, behaviour: Behaviour) -> None:
        if key := self.pick(index):
            self.world.behaviours[key] = behaviour

    @rule(index=servers)
    def crash(self, index: int) -> None:
        if key := self.pick(index):
            self.world.end(key)

    # The world around

    @rule(seconds=st.sampled_from([1, 10, 60, 130, 3700]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)
        self.world.tick()
        self.work()

    @rule()
    def controller_works(self) -> None:
        self.work()

    @rule(
        place=st.sampled_from(["before unavailable", "before refused", "after unavailable", "rows unavailable"]),
        number=times,
    )
    def faults_come(self, place: str, number: int) -> None:
        self.faults_left[place] = number

    @rule()
    def cache_goes_stale(self) -> None:
        self.engine.freeze()

    @rule()
    def cache_catches_up(self) -> None:
        self.engine.thaw()

    @rule()
    def wakes_are_held(self) -> None:
        self.held = self.held or []

    @precondition(lambda self: self.held)
    @rule(seed=st.integers(0, 1000), lost=st.booleans())
    def wakes_come_late(self, seed: int, lost: bool) -> None:
        held, self.held = self.held or [], None
        random = Random(seed)
        held += random.choices(held, k=2)
        random.shuffle(held)
        for key in held[len(held) // 2 if lost else 0 :]:
            self.queue.add(key)

    @rule(is_there=st.booleans())
    def game_leaves_or_enters_the_catalogue(self, is_there: bool) -> None:
        self.shelf.entries = {GAME.slug: GAME} if is_there else {}

    @rule()
    def controller_dies(self) -> None:
        self.end_controller()
        self.start_controller()

    @rule(index=servers)
    def another_controller_reads(self, index: int) -> None:
        """It reads now, and acts later without knowing that it lost the lease."""
        if key := self.pick(index):
            self.copy = self.rows.record(key)

    @precondition(lambda self: self.copy is not None)
    @rule()
    def another_controller_acts(self) -> None:
        assert self.copy is not None
        record = self.copy
        endpoints = tuple(Endpoint(lease.name, lease.protocol, "play.example", lease.port) for lease in record.leases)
        subject = Subject(record.server, record.status, endpoints, self.shelf.find(record.server.game))
        observed = self.engine.observed(record.server.id)
        stale = plan(subject, observed, self.clock.now)
        if stale.confirm or stale.is_idle:
            return  # what removes for good is read again first: test_reconciler.py
        self.meddled_with.add(record.server.id)
        executor = self.reconciler._executor
        self.loop.run_until_complete(executor.carry_out(subject, stale))

    # What must hold

    @invariant()
    def is_safe(self) -> None:
        assert not self.violations, self.violations

    @invariant()
    def stored_state_is_the_derived_one(self) -> None:
        for row in self.rows.rows.values():
            if row.status.observed_generation == row.server.generation:
                assert row.state is derive_state(row.server, row.status)

    @rule()
    def everything_settles(self) -> None:
        """The faults stop and time passes: every server is as its owner last asked, and nothing is left to do."""
        self.faults_left.clear()
        self.held = None
        self.shelf.entries = {GAME.slug: GAME}
        self.world.behaviours.clear()
        self.engine.thaw()
        for seconds in (0, 1, 60, 60, 400, 400, 4000, 60, 60):
            self.clock.advance(seconds=seconds)
            self.world.tick()
            self.resync()
            self.work()
        self.is_safe()
        for key, row in self.rows.rows.items():
            self.is_as_asked(key)
            assert row.status.observed_generation == row.server.generation
        still_open = [entry for entry in self.rows.operations.values() if entry.outcome is Outcome.RUNNING]
        assert not still_open
        left = set(self.world.machines) - set(self.rows.rows)
        assert left <= self.meddled_with, "something is left of a server that was removed"
        assert all(is_ended(self.world.machines[key].process) for key in left), "a game without a row runs"
        self.nothing_is_left_to_do()


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=300,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
