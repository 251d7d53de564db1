"""Random histories of machines, cables, clouds, operators and stale caches: no world ever has two writers, and once the
faults stop every server runs once, on a node that answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controlling import Clock, Shelf
from node_world import CloudOf, Rows, World
from overworld.controller.node_guard import NodeGuard
from overworld.controller.node_plan import NodePlan, NodeRules
from overworld.domain.activity import Presence
from overworld.domain.nodes import NodeWord

RULES = NodeRules(timedelta(seconds=10), timedelta(seconds=30), timedelta(seconds=60))
NAMES = ("pool-1", "pool-2", "pool-3")
names = st.sampled_from(NAMES)


class Histories(RuleBasedStateMachine):
    """Three machines, four servers, and whatever may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.world = World(self.clock)
        self.rows = Rows(self.world)
        for name in NAMES:
            self.world.add(name)
            self.name_machine(name)
        self.servers = [f"chess{number}" for number in range(4)]
        for server_id in self.servers:
            self.world.place(server_id)
        self.world.sync()
        self.begin()

    def name_machine(self, name: str) -> None:
        """Its providerID is its name."""
        machine = self.world.machines[name]
        machine.node = replace(machine.node, provider_id=name)

    def begin(self) -> None:
        """A controller that knows nothing but the rows."""
        self.guard = NodeGuard(
            self.world,
            CloudOf(self.world),
            self.rows,
            Shelf(),
            lambda _: None,
            rules=RULES,
            fresh=timedelta(seconds=60),
            clock=self.clock,
        )
        self.loop.run_until_complete(self.guard.begin())

    def look(self) -> NodePlan:
        """One look, and what it has begun."""

        async def run() -> NodePlan:
            plan = await self.guard.look()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return plan

        return self.loop.run_until_complete(run())

    def teardown(self) -> None:
        try:
            self.everything_settles()
        finally:
            self.loop.close()

    # What happens

    @rule(name=names)
    def power_fails(self, name: str) -> None:
        if name in self.world.machines:
            self.world.switch_off(name)

    @rule(name=names)
    def power_comes_back(self, name: str) -> None:
        if name in self.world.machines:
            self.world.machines[name].is_on = True

    @rule(name=names, is_cabled=st.booleans())
    def cable(self, name: str, is_cabled: bool) -> None:
        if name in self.world.machines:
            self.world.machines[name].is_cabled = is_cabled

    @rule(name=names, cordoned=st.booleans())
    def cordon(self, name: str, cordoned: bool) -> None:
        if name in self.world.machines:
            machine = self.world.machines[name]
            machine.node = replace(machine.node, unschedulable=cordoned)

    @rule(name=names)
    def removed_with_its_machine(self, name: str) -> None:
        if name in self.world.machines:
            self.world.switch_off(name)
            del self.world.machines[name]

    @rule(name=names)
    def added_anew(self, name: str) -> None:
        if name not in self.world.machines:
            self.world.add(name)
            self.name_machine(name)
            # A new machine runs none of what was bound to the old one, until its kubelet does.

    @rule(knows=st.booleans(), fails=st.booleans())
    def cloud(self, knows: bool, fails: bool) -> None:
        self.world.cloud_knows, self.world.cloud_fails = knows, fails

    @rule(name=names)
    def an_operator_sees_it_off_and_says_so(self, name: str) -> None:
        machine = self.world.machines.get(name)
        known = self.rows.known.get(name)
        if machine is not None and not machine.is_on and known is not None and known.uid == machine.node.uid:
            self.rows.words[known.uid] = NodeWord(known.uid, name, "admin", self.clock.now)

    @rule(server=st.integers(0, 3), presence=st.sampled_from([*Presence, None]))
    def players(self, server: int, presence: Presence | None) -> None:
        self.rows.presences.pop(self.servers[server], None)
        if presence is not None:
            self.rows.presences[self.servers[server]] = presence

    @rule(seconds=st.sampled_from([1, 10, 30]), heard=st.booleans(), placed=st.booleans(), told=st.booleans())
    def time_passes(self, seconds: int, heard: bool, placed: bool, told: bool) -> None:
        """Kubelets are heard (or not), pods placed, the cache catches up, and the controller looks: each may be late,
        and then the cache is old."""
        self.clock.advance(seconds=seconds)
        if heard:
            self.world.notice()
        if placed:
            self.pods_are_placed()
        if told:
            self.world.sync()
        self.look()

    @rule(name=names, seconds=st.sampled_from([1, 10, 30]))
    def the_cable_is_out_for_a_while(self, name: str, seconds: int) -> None:
        """And the cache knows it, whatever it knows of the end."""
        if name in self.world.machines:
            self.world.machines[name].is_cabled = False
            self.world.notice()
            self.world.sync()
            self.clock.advance(seconds=seconds)
            self.look()

    @rule()
    def kubelets_are_heard(self) -> None:
        self.world.notice()

    @rule()
    def pods_are_placed(self) -> None:
        for server_id in self.servers:
            self.world.place(server_id)

    @rule()
    def another_controller_begins(self) -> None:
        self.begin()

    @precondition(lambda self: bool(self.world.pods))
    @rule(data=st.data())
    def a_pod_is_evicted_by_others(self, data: Any) -> None:
        self.world.pods[data.draw(st.sampled_from(sorted(self.world.pods)))].is_ending = True

    # What holds

    @invariant()
    def one_writer(self) -> None:
        writers = [pod.server_id for pod in self.world.pods.values() if pod.runs]
        assert len(writers) == len(set(writers))

    def everything_settles(self) -> None:
        """The faults stop, a node is there that takes pods, and time passes."""
        self.world.cloud_knows, self.world.cloud_fails = True, False
        self.added_anew(NAMES[0])
        self.world.machines[NAMES[0]].is_on = self.world.machines[NAMES[0]].is_cabled = True
        for machine in self.world.machines.values():
            machine.node = replace(machine.node, unschedulable=False)
        self.rows.presences.clear()
        plan = None
        for _ in range(30):
            self.clock.advance(seconds=10)
            self.world.notice()
            self.pods_are_placed()
            self.one_writer()
            self.world.sync()
            plan = self.look()
        self.world.sync()
        written = self.world.written
        assert plan is not None
        assert self.look().is_settled
        assert self.world.written == written
        assert sorted(pod.server_id for pod in self.world.pods.values() if pod.runs) == self.servers
        for machine in self.world.machines.values():
            if machine.node.is_ready:
                assert not machine.node.taints


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    deadline=None, max_examples=150, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
