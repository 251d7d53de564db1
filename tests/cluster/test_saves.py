"""Saves of worlds that are volumes of a cluster: what comes back, what a killed worker leaves, who sees the keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.image_builds import build_images
from cluster.harness.names import HOST_ADDRESS
from cluster.kube_stage import KubeStage
from cluster.saver import MINUTE, Errand
from cluster.savings import PASSWORD, Savings
from contract.test_engine import reaches
from controlling import make_server
from overworld.domain.errors import Conflict, EngineRefused, EngineUnavailable, SaveDeadline, SaveStoreRefused
from overworld.domain.observed import Phase, Removal
from overworld.domain.worlds import Storage
from overworld.engines.kube.names import claim_name, steward_name
from overworld.saves.base import Repository
from overworld.worker.snapshots import NothingToSave, Part
from s3 import S3, SECRET
from waiting import eventually

AWKWARD = """
import os, time
os.makedirs('a/b/empty'); os.mkdir('closed'); os.mkdir('shut'); open('shut/in', 'w').write('x')
open('a/file', 'wb').write(os.urandom(100_000)); os.link('a/file', 'twin'); os.symlink('/etc/passwd', 'link')
open('a/ü' + 'n' * 200, 'w').write('long'); open('sparse', 'wb').truncate(10_000_000); open('hidden', 'w').write('x')
os.chmod('hidden', 0o600); os.chmod('a/file', 0o640); os.utime('hidden', ns=(1, 1_234_567_890_123_456_789))
os.chmod('shut', 0o555); os.chmod('closed', 0o750); os.utime('a/b', ns=(1, 1_000_000_000))
"""


@pytest.fixture(scope="module")
def imaged(prepared: Cluster) -> Cluster:
    """The cluster with Overworld's own image."""
    for archive in build_images("overworld"):
        prepared.import_images(archive)
    return prepared


@pytest.fixture
def s3(imaged: Cluster, tmp_path: Path) -> Iterator[S3]:
    """A store on the network of the cluster."""
    with S3(tmp_path / "s3", HOST_ADDRESS) as server:
        yield server


@pytest.fixture
async def savings(stage: KubeStage, s3: S3, tmp_path: Path) -> AsyncIterator[Savings]:
    """Not started."""
    found = Savings(stage, s3, tmp_path)
    yield found
    await found.place.close()


@pytest.mark.timeout(300)
async def test_what_comes_back_is_what_was_saved(savings: Savings) -> None:
    """Of a running game and of a stopped one; wholly, and single files into the world as it is; the drill says so too,
    and that something else came to be."""
    await savings.start(running=True)
    with pytest.raises(NothingToSave):
        await savings.save()
    await savings.fill(AWKWARD)
    before = await savings.tree(1)
    save = await savings.save(excludes=["hidden"])
    whole = await savings.save(parent=save.snapshot_id)
    assert whole.bytes_new < 50_000
    await savings.restore(whole, 2)
    assert await savings.tree(2) == before
    await savings.restore(whole, 2)  # again, as after a kill
    assert savings.engine.observed(savings.place.server_id).worlds == {1, 2}
    await savings.restore(save, 3)
    assert await savings.tree(3) == [item for item in before if item["path"] != "hidden"]

    compared = await savings.drill(whole)
    assert (compared.differences, compared.equal) == ((), 6)
    await savings.fill("open('a/file', 'ab').write(b'more')")
    assert [one.partition(":")[0] for one in (await savings.drill(whole)).differences] == ["a/file", "twin"]
    await savings.engine.apply(replace(savings.want, running=False), savings.launch)
    await reaches(savings.engine, savings.want, Phase.STOPPED)
    stopped = await savings.save()
    await savings.restore(save, 4, Part(["a/file"], 1))
    now, mixed = await savings.tree(1), {item["path"]: item for item in await savings.tree(4)}
    assert mixed.keys() == {item["path"] for item in now}
    assert mixed["a/file"]["size"] == 100_000
    assert mixed["twin"]["size"] == 100_004
    await savings.restore(stopped, 5)
    assert await savings.tree(5) == now


async def test_a_killed_worker_leaves_nothing_in_the_way(savings: Savings) -> None:
    """Killed in the middle of a save, of which the store hears no more: what it began at the world ends, and the next
    save goes through. Killed in the middle of a restore: the same restore ends it, or it is given up."""
    await savings.start(running=False)
    await savings.fill("open('big', 'wb').write(os.urandom(30_000_000))")
    pod = steward_name(savings.place.server_id, 1)
    savings.s3.freeze()
    async with savings.worker_process(Errand(savings.world)):
        await eventually(lambda: "restic" in savings.programs(pod), 30, "restic works")
        assert PASSWORD not in savings.programs(pod)
        assert SECRET not in savings.programs(pod)

    def is_alone() -> bool:
        running = savings.programs(pod)
        return "steward.py" in running and "restic" not in running and "errands" not in running

    await eventually(is_alone, 40, "nothing works at the world any more")
    savings.s3.thaw()
    save = await savings.save()
    before = await savings.tree(1)
    savings.s3.freeze()
    pod = steward_name(savings.place.server_id, 2)
    half = replace(savings.world, generation=2)
    async with savings.worker_process(Errand(half, save.snapshot_id)):
        await eventually(lambda: pod in savings.stage.kubectl("get", "pods", "-oname"), 30, "it has begun")
        await eventually(lambda: "restic" in savings.programs(pod), 30, "restic works")
    savings.s3.thaw()
    assert not await savings.snapshots.exists(half)
    assert savings.engine.observed(savings.place.server_id).worlds == {1}
    await savings.restore(save, 2)
    assert await savings.tree(2) == before
    savings.s3.freeze()
    async with savings.worker_process(Errand(replace(half, generation=3), save.snapshot_id)):
        pod = steward_name(savings.place.server_id, 3)
        await eventually(lambda: pod in savings.stage.kubectl("get", "pods", "-oname"), 30, "it has begun")
    savings.s3.thaw()
    await savings.snapshots.remove(replace(savings.world, generation=3))
    await savings.snapshots.remove(replace(savings.world, generation=3))
    claims = savings.stage.kubectl("get", "persistentvolumeclaims", "-oname")
    assert claim_name(savings.place.server_id, 3) not in claims
    await eventually(lambda: savings.stage.kubectl("get", "pods", "-oname") == "", 60, "no steward is left")


@pytest.mark.timeout(300)
async def test_a_lost_world_comes_back_where_no_controller_runs(savings: Savings) -> None:
    """On a new volume of the size that its server's row says; and what is over there is in nobody's way."""
    await savings.start(running=False)
    await savings.fill(AWKWARD)
    before = await savings.tree(1)
    save = await savings.save()
    await savings.engine.close()
    savings.stage.kubectl("delete", "deployments,pods,persistentvolumeclaims", "--all", "--grace-period=1")
    stewards = savings.place.worker.stewards
    await eventually(lambda: not stewards.exists(savings.world.server_id, 1), 30, "the loss is seen")
    stewards.is_tidied = False
    server = make_server(savings.world.server_id, storage=Storage.DISK, disk_mib=96)
    for _ in range(2):
        await savings.snapshots.make_room(server)
    assert not await savings.snapshots.exists(savings.world)
    await savings.restore(save, 1)
    ask = ("get", "pods,persistentvolumeclaims", "--output=jsonpath={.items[*].status.phase}")
    await eventually(lambda: savings.stage.kubectl(*ask) == "Succeeded Bound", 60, "its steward is over")
    assert await savings.tree(1) == before
    size = "--output=jsonpath={.items[0].spec.resources.requests.storage}"
    assert savings.stage.kubectl("get", "persistentvolumeclaims", size) == "96Mi"
    with pytest.raises(EngineRefused, match=f"overworld restore {savings.world.server_id} latest"):
        await savings.snapshots.make_room(replace(server, storage=Storage.SHARE))


async def test_a_deletion_takes_what_works_on_the_world_along(savings: Savings) -> None:
    """A purge waits for no steward."""
    await savings.start(running=False)
    await savings.fill("open('file', 'w').write('x')")
    await eventually(lambda: _is_removed(savings, 1), 30, "its world is removed")
    await eventually(lambda: _is_removed(savings, None), 30, "the rest is removed")
    assert not savings.engine.observed(savings.place.server_id).exists


async def _is_removed(savings: Savings, generation: int | None) -> bool:
    try:
        await savings.engine.delete(Removal(savings.place.server_id, generation))
    except EngineUnavailable:
        return False
    return True


async def test_what_goes_wrong_is_told_as_it_is_on_one_machine(savings: Savings) -> None:
    """A wrong key, a store that does not answer in time, a world that is not there."""
    await savings.start(running=False)
    await savings.fill("open('file', 'w').write('x')")
    good = savings.repository
    savings.repository = Repository(good.url, "another password", good.environment, good.ca_file)
    with pytest.raises(SaveStoreRefused) as refused:
        await savings.save()
    assert refused.value.reason == "WrongPassword"
    savings.repository = good
    savings.s3.freeze()
    with pytest.raises(SaveDeadline):
        await savings.save(deadline=MINUTE / 30)
    savings.s3.thaw()
    savings.world = replace(savings.world, generation=7)
    with pytest.raises(Conflict) as caught:
        await savings.save()
    assert caught.value.extra["reason"] == "WorldMissing"


async def test_the_keys_are_in_nothing_that_the_cluster_keeps(savings: Savings) -> None:
    """Neither in an object nor in the API server's log of what it was asked, in which the programs are."""
    await savings.start(running=True)
    await savings.fill("open('file', 'w').write('x')")
    await savings.save()
    kept = savings.stage.kubectl("get", "pods,events,secrets,configmaps,persistentvolumeclaims,deployments", "-ojson")
    log = savings.stage.cluster.control_plane.audit_log.read_text()
    assert "overworld.worker.errands" in log
    secrets = (PASSWORD, SECRET)
    assert [one for one in secrets if one in kept or one in log] == []
    assert json.loads(kept)["items"]
