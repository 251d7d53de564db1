"""The network mode direct on a real cluster: players come in by ports of the node."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import replace

import pytest

from cluster.kube_stage import KubeStage
from contract.test_engine import process_of, reaches
from overworld.domain.games import Protocol
from overworld.domain.observed import Launch, Phase, Want
from overworld.domain.servers import Endpoint, Network
from overworld.engines.base import Engine
from waiting import eventually

LONG = 40.0
ENFORCE = "pod-security.kubernetes.io/enforce"

# A game that players shake hands with by UDP.
GAME = """
import os, signal, socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("0.0.0.0", int(sys.argv[-1])))
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"world saved\\n"), os._exit(0)))
print("ready to play", flush=True)
while True:
    text, player = listener.recvfrom(2048)
    listener.sendto(b"welcome " + text, player)
"""


@pytest.fixture
def direct(stage: KubeStage) -> KubeStage:
    """The stage at the one level of Pod Security that allows ports of nodes. (What the chart puts in its place is
    tested with the chart.)"""
    stage.kubectl("label", "--overwrite", "namespace", stage.namespace, f"{ENFORCE}=privileged")
    return stage


def wanted(stage: KubeStage, engine: Engine, port: int) -> tuple[Want, Launch]:
    """A server on that port of its node."""
    endpoints = (Endpoint("game", Protocol.UDP, "", port),)
    want = replace(stage.want(endpoints=endpoints), network=Network.DIRECT)
    launch = stage.launch(engine, want, "good")
    return want, replace(launch, arguments=(*launch.arguments, str(port)), files={"game.py": GAME})


def shake_hands(host: str, port: int) -> str:
    """What the game answers a player outside the cluster; empty when nobody answers."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as player:
        player.settimeout(0.5)
        player.connect((host, port))
        player.send(b"anna")
        return player.recv(2048).decode()
    return ""


async def host_of(engine: Engine, want: Want) -> str:
    """Where the engine says that players come in."""

    def look() -> str:
        way_in = engine.observed(want.server_id).way_in
        return way_in.hosts[0] if way_in is not None and way_in.hosts else ""

    return await eventually(look, LONG, "the node's address is told")


async def test_players_reach_the_game_at_its_node(direct: KubeStage) -> None:
    """Two servers, each at its own port of the node that it is on, and no Service at all."""
    engine = await direct.engine()
    servers = [wanted(direct, engine, port) for port in (40010, 40011)]
    for want, launch in servers:
        await engine.apply(want, launch)
    for want, _ in servers:
        await reaches(engine, want, Phase.READY)
        host = await host_of(engine, want)
        node = engine.observed(want.server_id).node
        assert node is not None
        assert host == direct.cluster.nodes[node].address
        port = want.endpoints[0].port
        await eventually(lambda: shake_hands(host, port) == "welcome anna", LONG, f"{host}:{port} answers")  # noqa: B023
    assert direct.kubectl("get", "services", "--output=name") == ""


async def test_the_address_follows_the_node(direct: KubeStage) -> None:
    """After a start elsewhere the same port answers at the other node, and whoever waits is woken; stopped, it has
    no address."""
    engine = await direct.engine()
    want, launch = wanted(direct, engine, 40012)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    first, node = await host_of(engine, want), engine.observed(want.server_id).node
    assert node is not None
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert engine.observed(want.server_id).way_in is None
    direct.cluster.kubectl("cordon", node)
    try:
        await engine.apply(want, launch)
        await reaches(engine, want, Phase.READY)
    finally:
        direct.cluster.kubectl("uncordon", node)
    second = await host_of(engine, want)
    assert second != first
    await eventually(lambda: shake_hands(second, 40012) == "welcome anna", LONG, f"{second} answers")
    assert shake_hands(first, 40012) == ""


async def test_a_public_address_of_the_node_is_preferred_and_its_change_wakes(direct: KubeStage) -> None:
    """As AKS sets it on nodes with public addresses."""
    engine = await direct.engine()
    want, launch = wanted(direct, engine, 40013)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    node = engine.observed(want.server_id).node
    assert node is not None
    inside = direct.cluster.nodes[node].address
    direct.woken(engine).clear()
    # The kubelet writes its own addresses again at its next report, so this is a moment's truth.
    addresses = [{"type": "ExternalIP", "address": "192.0.2.77"}, {"type": "InternalIP", "address": inside}]
    patch = json.dumps({"status": {"addresses": addresses}})

    def is_told() -> bool:
        direct.cluster.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "--patch", patch)
        way_in = engine.observed(want.server_id).way_in
        return way_in is not None and way_in.hosts == ("192.0.2.77",)

    await eventually(is_told, LONG, "the public address is told")
    assert want.server_id in direct.woken(engine)


async def test_pod_security_that_forbids_it_is_told_with_the_remedy(stage: KubeStage) -> None:
    """Every level of it but privileged forbids ports of nodes."""
    engine = await stage.engine()
    want, launch = wanted(stage, engine, 40014)
    await engine.apply(want, launch)

    def is_told() -> bool:
        seen = process_of(engine, want)
        return seen is not None and seen.pending is not None and "docs/direct.md" in seen.pending

    await eventually(is_told, LONG, "the remedy is told")
