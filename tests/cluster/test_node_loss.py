"""Nodes die, or only seem to: servers run elsewhere with the same address and world, and no world has two writers."""

from __future__ import annotations

import asyncio
import json

import pytest

from cluster.node_site import SOON, NodeSite
from overworld.cloud.base import MachineState
from overworld.domain.errors import Conflict
from overworld.domain.state import State
from waiting import eventually

LOST = "node-2"
OTHER = "node-1"
MARK = "node.kubernetes.io/out-of-service"


async def taints(site: NodeSite, node: str) -> list[str]:
    """The keys of the node's taints."""
    seen = json.loads(await site.kubectl("get", "node", node, "--output=json"))
    return [taint["key"] for taint in seen["spec"].get("taints", ())]


def address(site: NodeSite, server_id: str) -> tuple[str, str]:
    """What players reach: the Service's uid (it is never made anew) and its address."""
    seen = json.loads(site.stage.kubectl("get", "service", server_id, "--output=json"))
    return seen["metadata"]["uid"], seen["spec"]["clusterIP"]


async def runs_elsewhere(site: NodeSite, *server_ids: str) -> list[float]:
    """Wait until each runs on the other node, on its own world, with one writer at a time; for each the seconds in
    which nobody wrote it."""
    gaps = []
    for server_id in server_ids:
        await site.until_state(server_id, State.RUNNING, on=OTHER)
        await eventually(lambda: len(site.writers(server_id)) == 2, SOON, "it ticks again")  # noqa: B023
        (_, _, until), (_, since, _) = site.writers(server_id)
        gaps.append(since - until)
        assert len(site.lines(server_id, "starts")) == 2
    return gaps


async def test_three_servers_of_a_dead_node_run_elsewhere(site: NodeSite, capsys: pytest.CaptureFixture[str]) -> None:
    """ARM says that its machine is off: all is freed, each step told, and the node is taken in when it is back."""
    node = site.cluster.nodes[LOST]
    machines = site.cluster.azure.standin.machines
    cloud = site.cluster.azure.cloud()
    async with site.controller(cloud):
        machines.add(node.machine_id)
        ids = await site.create_on(LOST, "one", "two", "three")
        before = [address(site, server_id) for server_id in ids]
        machines.add(node.machine_id, "deallocated")
        await asyncio.to_thread(site.cluster.kill_node, LOST)
        gaps = await runs_elsewhere(site, *ids)
        with capsys.disabled():
            told = ", ".join(f"{gap:.1f}" for gap in gaps)
            print(f"\nA node with three servers was killed: nobody wrote their worlds for {told} s.")
        assert [address(site, server_id) for server_id in ids] == before
        for server_id in ids:
            told = site.told(server_id)
            assert "its machine is off" in told
            assert "The world was freed" in told
            assert "was lost with its node node-2" in told
            assert "It runs on the node node-1." in told
            assert site.saved(server_id) == "SaveNotSeen"
        assert (await site.until_node(LOST, "lost")).servers == 0
        assert MARK in await taints(site, LOST)
        machines.add(node.machine_id, "running")
        await asyncio.to_thread(site.cluster.start_node, LOST)
        await site.until_node(LOST, "ready")
        assert MARK not in await taints(site, LOST)
        assert [len(site.writers(server_id)) for server_id in ids] == [2, 2, 2]
    await cloud.close()


async def test_without_a_cloud_an_operators_word_is_waited_for(site: NodeSite) -> None:
    """The node is only cut off, and its game goes on writing: nothing starts elsewhere until somebody has seen the
    machine off and says so."""
    async with site.controller():
        (server_id,) = await site.create_on(LOST, "one")
        with pytest.raises(Conflict, match="answers"):
            site.confirm_lost(LOST)
        site.cluster.nodes[LOST].machine.cut()
        view = await site.until_node(LOST, "needs_word")
        assert "`overworld node confirm-lost node-2`" in view.record.message
        await site.until_state(server_id, State.FAILED)
        assert "two games on one world would destroy it" in site.told(server_id)
        written = len(site.lines(server_id, "ticks"))
        await eventually(lambda: len(site.lines(server_id, "ticks")) > written + 30, SOON, "the game goes on")
        assert len(site.writers(server_id)) == 1
        await asyncio.to_thread(site.cluster.kill_node, LOST)
        site.confirm_lost(LOST)
        await runs_elsewhere(site, server_id)
        assert "an operator says that it is off" in site.told(server_id)
        await asyncio.to_thread(site.cluster.start_node, LOST)
        assert (await site.until_node(LOST, "ready")).word is None


async def test_a_machine_that_runs_unreachable_is_powered_off_first(site: NodeSite) -> None:
    """The game on it writes until the plug is pulled, and only then another one starts."""
    node = site.cluster.nodes[LOST]
    standin = site.cluster.azure.standin
    standin.machines.add(node.machine_id)
    standin.machines.on_power_off = lambda _id: node.kill()
    cloud = site.cluster.azure.cloud()
    async with site.controller(cloud):
        (server_id,) = await site.create_on(LOST, "one")
        node.machine.cut()
        await site.until_node(LOST, "unconfirmed")
        await runs_elsewhere(site, server_id)
        assert await cloud.machine_state(f"azure://{node.machine_id}") is MachineState.STOPPED
        told = site.told(server_id)
        assert "is being powered off" in told
        assert told.index("is being powered off") < told.index("The world was freed")
    await cloud.close()
    assert len([one for one in standin.requests if one.endswith("/powerOff")]) == 1


async def test_a_node_that_answers_again_in_time_is_left_alone(site: NodeSite) -> None:
    """Its games were never disturbed, and their owners are told that all is well again."""
    async with site.controller():
        (server_id,) = await site.create_on(LOST, "one")
        site.cluster.nodes[LOST].machine.cut()
        await site.until_state(server_id, State.FAILED)
        site.cluster.nodes[LOST].machine.mend()
        await site.until_state(server_id, State.RUNNING, on=LOST)
        await site.until_node(LOST, "ready")
        assert len(site.writers(server_id)) == 1
        assert MARK not in await taints(site, LOST)
