"""What the guard of the nodes does of itself: whom it tells, what it keeps, how often it asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from controlling import GAME, Clock, Shelf
from node_world import CloudOf, Rows, World
from overworld.controller.node_guard import NodeGuard
from overworld.controller.node_plan import NodeRules
from overworld.domain.activity import Presence
from overworld.domain.nodes import NodeState

RULES = NodeRules(timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=20))
TALKING = replace(GAME, console=replace(GAME.console, announce="say {{text}}"))


class Site:
    """A guard of two machines, with one server on the first."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.world = World(self.clock)
        self.rows = Rows(self.world)
        self.woken: list[str] = []
        for name in ("pool-1", "pool-2"):
            self.world.add(name)
            machine = self.world.machines[name]
            machine.node = replace(machine.node, provider_id=name)
        self.world.place("chess1")
        self.world.sync()
        self.guard = self.begin()

    def begin(self) -> NodeGuard:
        """A controller that has only just begun."""
        return NodeGuard(
            self.world,
            CloudOf(self.world),
            self.rows,
            Shelf(TALKING),
            self.woken.append,
            rules=RULES,
            fresh=timedelta(seconds=60),
            clock=self.clock,
        )

    async def look(self, **after: float) -> None:
        """Time passes, all is heard, and the guard looks; what it has begun has gone on."""
        self.clock.advance(**after)
        self.world.notice()
        self.world.place("chess1")
        self.world.sync()
        await self.guard.look()
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
def site() -> Site:
    """A fresh one."""
    return Site()


async def test_owners_are_woken_when_something_else_is_to_be_said(site: Site) -> None:
    """Once for each change; and a controller that begins anew says what the last one said."""
    site.world.machines["pool-1"].is_cabled = False
    await site.look()
    assert site.guard.trouble_of("chess1") is None
    site.world.cloud_fails = True
    await site.look(seconds=10)
    await site.look(seconds=1)
    assert site.woken == ["chess1"]
    said = site.guard.trouble_of("chess1")
    assert said is not None
    assert "is being asked" in said
    site.guard = site.begin()
    await site.guard.begin()
    assert site.guard.trouble_of("chess1") == said
    site.world.machines["pool-1"].is_cabled = True
    await site.look()
    assert site.guard.trouble_of("chess1") is None
    assert site.woken == ["chess1", "chess1"]


async def test_a_machine_is_powered_off_and_its_server_moves(site: Site) -> None:
    """The owner is told when its world was freed, once."""
    site.world.machines["pool-1"].is_cabled = False
    await site.look()
    await site.look(seconds=30)
    assert not site.world.machines["pool-1"].is_on
    await site.look(seconds=1)
    await site.look(seconds=1)
    assert [pod.node for pod in site.world.pods.values()] == ["pool-2"]
    assert [event.reason for event in site.rows.events] == ["NodeLost"]
    assert site.rows.known["pool-1"].state is NodeState.LOST


async def test_a_cloud_that_refuses_is_asked_again_in_a_minute(site: Site) -> None:
    """Somebody has to act before another try makes sense; meanwhile an operator's word is asked for."""
    site.world.machines["pool-1"].is_cabled = False
    await site.look()
    await site.look(seconds=10)
    cloud = CloudOf(site.world)

    class Unwilling(CloudOf):
        """It tells, and does not act."""

        async def power_off(self, provider_id: str) -> None:
            self.world.cloud_knows = False
            try:
                await cloud.power_off(provider_id)
            finally:
                self.world.cloud_knows = True

    site.guard._cloud = Unwilling(site.world)
    await site.look(seconds=30)
    for _ in range(5):
        await site.look(seconds=5)
    assert site.world.power_offs == 1
    assert site.rows.known["pool-1"].state is NodeState.NEEDS_WORD
    assert "(Give it the role.)" in site.rows.known["pool-1"].message
    await site.look(seconds=60)
    assert site.world.power_offs == 2
    assert site.world.machines["pool-1"].is_on


async def test_players_are_told_through_the_game(site: Site) -> None:
    """By its own command, once at each mark."""
    machine = site.world.machines["pool-1"]
    machine.node = replace(machine.node, unschedulable=True)
    site.rows.presences["chess1"] = Presence.ACTIVE
    await site.look()
    for _ in range(19):
        await site.look(minutes=1)
    assert site.world.announced == [
        f"say This server moves to another machine in {left}. It saves the world and is back soon."
        for left in ("10 minutes", "5 minutes", "1 minute")
    ]
    await site.look(minutes=1)
    await site.look()
    await site.look()
    assert [pod.node for pod in site.world.pods.values()] == ["pool-2"]
    assert [event.reason for event in site.rows.events] == ["NodeDraining", "NodeDrained"]
