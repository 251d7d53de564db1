"""Restore drills in a cluster: the game itself starts on the restored copy, or it is said why not; nothing is left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.image_builds import build_images
from cluster.harness.names import HOST_ADDRESS
from cluster.kube_stage import KubeStage
from cluster.saver import Errand, find_game
from cluster.savings import Savings
from overworld.domain.errors import EngineUnavailable, RepositoryDamaged
from overworld.engines.kube import giving_way, scratch
from overworld.engines.kube.names import SERVER, STEWARD_OF, scratch_name
from overworld.worker.snapshots import Size
from s3 import S3
from waiting import eventually

WORLD = "os.mkdir('world'); open('world/world.mt', 'w').write('gameid = minetest_game\\n')"
BROKEN = "open('world/world.mt', 'a').write('backend = one-that-nobody-knows\\n')"


@pytest.fixture(scope="module")
def imaged(prepared: Cluster) -> Cluster:
    """The cluster with Overworld's own image and a game's."""
    for archive in build_images("overworld", "luanti"):
        prepared.import_images(archive)
    return prepared


@pytest.fixture
def s3(imaged: Cluster, tmp_path: Path) -> Iterator[S3]:
    """A store on the network of the cluster."""
    with S3(tmp_path / "s3", HOST_ADDRESS) as server:
        yield server


@pytest.fixture
async def savings(stage: KubeStage, s3: S3, tmp_path: Path) -> AsyncIterator[Savings]:
    """With a stopped server."""
    found = Savings(stage, s3, tmp_path)
    await found.start(running=False)
    yield found
    await found.place.close()


def pod_of(savings: Savings) -> dict[str, Any] | None:
    """The drill's pod as the API server has it."""
    pods: list[dict[str, Any]] = json.loads(savings.stage.kubectl("get", "pods", "--output=json"))["items"]
    name = scratch_name(savings.place.server_id)
    return next((pod for pod in pods if pod["metadata"]["name"] == name), None)


def game_runs(savings: Savings) -> bool:
    """Whether a game runs in it."""
    pod = pod_of(savings)
    statuses = pod["status"].get("containerStatuses", []) if pod is not None else []
    return any(one["name"] == "game" and "running" in one["state"] for one in statuses)


async def is_gone(savings: Savings) -> None:
    """The drill's pod is gone, and had made nothing that is left."""
    await eventually(lambda: pod_of(savings) is None, 60, "no pod is left of the drill")


@pytest.mark.timeout(600)
async def test_the_game_is_started_on_what_was_restored(savings: Savings) -> None:
    """A real one, on a good save and on one that is as it was saved but no world: its last words are told. One that
    answers in no language that it is asked in is no proof either. Nothing of it is left, nor ever in an object."""
    luanti = find_game("luanti")
    await savings.fill(WORLD)
    good = await savings.save()
    compared = await savings.drill(good, luanti)
    assert (compared.files, compared.equal, compared.differences) == (1, 1, ())
    await is_gone(savings)
    log = savings.stage.cluster.control_plane.audit_log.read_text()
    assert "overworld.games.query.beside" in log
    assert luanti.query is not None
    with pytest.raises(RepositoryDamaged, match="On the restored world Luanti cannot be reached"):
        await savings.drill(good, replace(luanti, query=replace(luanti.query, protocol="minecraft")))
    await is_gone(savings)
    await savings.fill(BROKEN)
    bad = await savings.save()
    with pytest.raises(
        RepositoryDamaged, match=r"Luanti does not start on the restored world: .*one-that-nobody-knows"
    ):
        await savings.drill(bad, luanti)
    await is_gone(savings)
    assert (await savings.drill(bad)).differences == ()
    await is_gone(savings)
    assert savings.engine.observed(savings.place.server_id).worlds == {1}
    assert "luanti.conf" not in savings.stage.kubectl("get", "secrets,configmaps", "--output=json")


@pytest.mark.timeout(300)
async def test_who_dies_over_a_drill_leaves_no_game(savings: Savings) -> None:
    """Its pod is nobody's server meanwhile: no Service finds it. Without its worker the steward ends, and the
    controller takes the game along."""
    await savings.fill("open('file', 'w').write('x')")
    save = await savings.save()
    async with savings.worker_process(Errand(savings.world, save.snapshot_id, "never-ready")):
        await eventually(lambda: game_runs(savings), 60, "a game runs on the copy")
        pod = pod_of(savings)
        assert pod is not None
        assert pod["metadata"]["labels"][STEWARD_OF] == savings.place.server_id
        assert SERVER not in pod["metadata"]["labels"]
        assert savings.engine.observed(savings.place.server_id).process is None
        assert savings.stage.kubectl("get", "services,deployments", f"--selector={STEWARD_OF}", "--output=name") == ""
    await is_gone(savings)


@pytest.mark.timeout(300)
async def test_that_no_node_has_room_is_told_as_that(savings: Savings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as a damaged save; the pod does not wait for ever."""
    monkeypatch.setattr(scratch, "ROOM_WITHIN_SECONDS", 5.0)
    monkeypatch.setattr(giving_way, "NO_NODE_WITHIN", timedelta(seconds=10))
    await savings.fill("open('file', 'w').write('x')")
    save = await savings.save()
    with pytest.raises(EngineUnavailable, match=r"No node has room for the restore drill.*ephemeral-storage") as caught:
        await savings.drill(save, find_game("good"), Size(2**50, 1))
    assert "of its own disk" in caught.value.detail
    await is_gone(savings)
    assert (await savings.drill(save, find_game("good"))).differences == ()
