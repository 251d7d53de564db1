"""Nodes are emptied: servers leave them when nobody plays, or when their time is up, and their worlds are saved."""

from __future__ import annotations

import json

import pytest

from cluster.harness.commands import CommandFailed
from cluster.node_site import SOON, NodeSite
from overworld.domain.activity import Presence
from overworld.domain.state import State
from waiting import eventually

EMPTIED = "node-2"
OTHER = "node-1"


def pod_of(site: NodeSite, server_id: str) -> dict[str, object]:
    """The server's only pod."""
    (pod,) = json.loads(site.stage.kubectl("get", "pods", f"--selector=overworld/server={server_id}", "--output=json"))[
        "items"
    ]
    return dict(pod)


def marks_of(site: NodeSite, server_id: str) -> tuple[str | None, str | None]:
    """Whether its pod may be evicted, and whether the autoscaler may take its node."""
    metadata = pod_of(site, server_id)["metadata"]
    assert isinstance(metadata, dict)
    annotations = metadata.get("annotations", {})
    return metadata["labels"].get("occupied"), annotations.get("cluster-autoscaler.kubernetes.io/safe-to-evict")


def evict(site: NodeSite, server_id: str) -> None:
    """What `kubectl drain`, an AKS upgrade and the autoscaler do. Raises CommandFailed if a budget forbids it."""
    metadata = pod_of(site, server_id)["metadata"]
    assert isinstance(metadata, dict)
    name = metadata["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{site.stage.namespace}/pods/{name}/eviction"
    site.cluster.kubectl("create", "--raw", path, "--filename=-", stdin=json.dumps(eviction))


async def test_an_empty_server_leaves_a_cordoned_node_at_once(site: NodeSite) -> None:
    """Saved, with the same world, and neither a crash nor a restart that anybody asked for."""
    async with site.controller():
        (server_id,) = await site.create_on(EMPTIED, "one")
        site.plays(Presence.IDLE, server_id)
        await site.kubectl("cordon", EMPTIED)
        record = await site.until_state(server_id, State.RUNNING, on=OTHER)
        assert record.server.restarts == 0
        assert site.saved(server_id) == "SaveSeen"
        assert len(site.lines(server_id, "saves")) == 1
        assert len(site.writers(server_id)) == 2
        told = site.told(server_id)
        assert "NodeDrained: It leaves its node node-2: it is cordoned, and nobody plays." in told
        assert "Crashed" not in told
        await site.kubectl("uncordon", EMPTIED)
        await site.until_node(EMPTIED, "ready")


async def test_players_are_warned_and_moved_at_the_deadline(site: NodeSite) -> None:
    """A server on which somebody plays stays until its time is up, and says so in the game."""
    async with site.controller(drain_deadline=12):
        (server_id,) = await site.create_on(EMPTIED, "one")
        site.plays(Presence.ACTIVE, server_id)
        await site.kubectl("cordon", EMPTIED)
        await eventually(lambda: site.lines(server_id, "said"), SOON, "the players are told")
        assert site.record(server_id).status.node == EMPTIED
        assert len(site.writers(server_id)) == 1
        await site.until_state(server_id, State.RUNNING, on=OTHER)
        (said,) = site.lines(server_id, "said")
        assert said.startswith("This server moves to another machine in ")
        assert site.saved(server_id) == "SaveSeen"
        assert "it could wait no longer" in site.told(server_id)


async def test_a_drain_an_eviction_and_a_stop_all_end_with_the_save_seen(site: NodeSite) -> None:
    """Whoever asks, the keeper has the game save and quit; while somebody may play, nobody may evict."""
    budget: dict[str, object] = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "occupied", "namespace": site.stage.namespace},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"occupied": "true"}}},
    }
    site.stage.create(budget)
    async with site.controller():
        evicted, drained, stopped = await site.create_on(EMPTIED, "one", "two", "three")
        assert marks_of(site, evicted) == ("true", None)
        site.plays(Presence.ACTIVE, evicted, drained)
        await eventually(lambda: marks_of(site, evicted) == ("true", "false"), SOON, "it is held")
        with pytest.raises(CommandFailed, match="disruption budget"):
            evict(site, evicted)
        site.plays(Presence.IDLE, evicted)
        await eventually(lambda: marks_of(site, evicted) == (None, None), SOON, "it may be evicted")
        evict(site, evicted)
        await eventually(lambda: len(site.writers(evicted)) == 2, SOON, "the evicted one runs again")
        await site.until_state(evicted, State.RUNNING)
        site.stop(stopped)
        await site.until_state(stopped, State.STOPPED)
        await site.kubectl("cordon", EMPTIED)
        site.plays(Presence.IDLE, drained)
        await site.until_state(drained, State.RUNNING, on=OTHER)
        assert [site.saved(server_id) for server_id in (evicted, drained, stopped)] == ["SaveSeen"] * 3
