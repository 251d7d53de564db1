"""Worlds on disks and in shares, on a real cluster: grown under a running game, kept, moved, and gone after a purge."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.names import RUN_FOLDER, SHARES_FOLDER
from cluster.harness.provisioner import DISK, GROWS
from cluster.kube_stage import KubeStage
from contract.test_engine import process_of, reaches
from overworld.cloud.azure.cloud import AzureCloud
from overworld.domain.conditions import Reason
from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.domain.observed import Launch, Phase, Removal, Want
from overworld.domain.worlds import DiskSeen, Storage, WantedFolder
from overworld.engines.base import Engine
from waiting import eventually

LONG = 40.0


@pytest.fixture
async def cloud(stage: KubeStage) -> AsyncIterator[AzureCloud]:
    """Azure, whose share the nodes mount."""
    opened = stage.cluster.azure.cloud()
    yield opened
    await opened.close()


async def on_disk(stage: KubeStage, engine: Engine) -> tuple[Want, Launch]:
    """A server that runs on a disk of 64 MiB."""
    want = replace(stage.want(), storage=Storage.DISK, disk_mib=64)
    launch = stage.launch(engine, want, "good")
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    return want, launch


async def in_share(stage: KubeStage, engine: Engine, cloud: AzureCloud) -> tuple[Want, Launch, Path]:
    """A server that runs in a share, and where its world is."""
    want = replace(stage.want(), storage=Storage.SHARE)
    folder = await cloud.ensure_folder(want.server_id, 1)
    want = replace(want, folder=WantedFolder(folder.driver, folder.attributes, folder.mount_options))
    launch = stage.launch(engine, want, "good")
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    return want, launch, SHARES_FOLDER / folder.attributes["shareName"] / folder.attributes["folderName"]


def disk(engine: Engine, want: Want) -> DiskSeen | None:
    """What is seen of the first generation's disk."""
    return engine.observed(want.server_id).disks.get(1)


def volume(stage: KubeStage) -> dict[str, Any] | None:
    """The one volume of the stage's namespace."""
    items = json.loads(stage.cluster.kubectl("get", "persistentvolumes", "--output=json"))["items"]
    found = [item for item in items if item["spec"]["claimRef"]["namespace"] == stage.namespace]
    assert len(found) <= 1
    return found[0] if found else None


def make_class(stage: KubeStage, name: str, **content: object) -> None:
    """A storage class besides the usual one."""
    usual = {"provisioner": DISK, "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"}
    manifest = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}, **usual}
    stage.cluster.kubectl("apply", "--filename=-", stdin=json.dumps(manifest | content))
    stage.options = replace(stage.options, storage_class=name)


async def test_a_disk_grows_under_a_running_game(stage: KubeStage) -> None:
    """The claim asks for more, the volume has more, the process never noticed; a smaller wish changes nothing."""
    engine = await stage.engine()
    want, launch = await on_disk(stage, engine)
    before = process_of(engine, want)
    await engine.apply(replace(want, disk_mib=256), launch)
    await eventually(lambda: disk(engine, want) == DiskSeen(256, 256), LONG, "the disk has grown")
    seen = volume(stage)
    assert seen is not None
    assert seen["spec"]["capacity"]["storage"] == "256Mi"
    await engine.apply(replace(want, disk_mib=128), launch)
    assert disk(engine, want) == DiskSeen(256, 256)
    assert process_of(engine, want) == before


async def test_a_disk_of_another_class_grows(stage: KubeStage) -> None:
    """The operator has chosen another class for new worlds since: this one keeps its own."""
    await on_disk(stage, await stage.engine())
    make_class(stage, "newer", allowVolumeExpansion=True)
    engine = await stage.engine()
    (server_id,) = engine.server_ids()
    want = replace(stage.want(), server_id=server_id, storage=Storage.DISK, disk_mib=128)
    await engine.apply(want, stage.launch(engine, want, "good"))
    await eventually(lambda: disk(engine, want) == DiskSeen(128, 128), LONG, "the disk has grown")


async def test_a_disk_of_a_stopped_server_grows_too(stage: KubeStage) -> None:
    """And one that was never used is made first, in the size that it was asked for."""
    engine = await stage.engine()
    want, launch = await on_disk(stage, engine)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    await engine.apply(replace(want, running=False, disk_mib=128), launch)
    await eventually(lambda: disk(engine, want) == DiskSeen(128, 128), LONG, "the disk has grown")
    unused = replace(stage.want(running=False), storage=Storage.DISK, disk_mib=64)
    await engine.apply(unused, launch)
    await engine.apply(replace(unused, disk_mib=128), launch)
    assert disk(engine, unused) == DiskSeen(64, None)


async def test_a_class_that_forbids_growth_is_told_with_the_remedy(stage: KubeStage) -> None:
    """The game goes on, and a start is not held up."""
    make_class(stage, "fixed", allowVolumeExpansion=False)
    engine = await stage.engine()
    want, launch = await on_disk(stage, engine)
    for larger in (replace(want, disk_mib=128), replace(want, disk_mib=128, running=False)):
        with pytest.raises(EngineRefused, match="allowVolumeExpansion") as refused:
            await engine.apply(larger, launch)
        assert refused.value.reason == Reason.CANNOT_GROW
        assert "from 64 MiB to 128 MiB" in refused.value.detail
    await reaches(engine, want, Phase.STOPPED)
    with pytest.raises(EngineRefused, match="allowVolumeExpansion"):
        await engine.apply(replace(want, disk_mib=128), launch)
    await reaches(engine, want, Phase.READY)


async def test_a_growth_that_fails_is_told_in_the_drivers_words(stage: KubeStage) -> None:
    """As a disk does that has reached the end of its type."""
    make_class(stage, "stuck", allowVolumeExpansion=True, parameters={GROWS: "no"})
    engine = await stage.engine()
    want, launch = await on_disk(stage, engine)
    await engine.apply(replace(want, disk_mib=128), launch)

    def is_told() -> bool:
        seen = disk(engine, want)
        return seen is not None and seen.pending is not None and "the disk's type ends at that size" in seen.pending

    await eventually(is_told, LONG, f"the failure is told: {disk(engine, want)}")


async def test_a_purge_leaves_no_disk_behind(stage: KubeStage) -> None:
    """Neither claim nor volume nor what was on it."""
    engine = await stage.engine()
    want, launch = await on_disk(stage, engine)
    await engine.apply(replace(want, disk_mib=128), launch)
    seen = volume(stage)
    assert seen is not None
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    await engine.delete(Removal(want.server_id, 1, Storage.DISK))
    await eventually(lambda: volume(stage) is None, LONG, "the volume is gone")
    assert not (RUN_FOLDER / "volumes" / seen["metadata"]["name"]).exists()


async def test_a_world_in_a_share_is_there_on_the_other_node(stage: KubeStage, cloud: AzureCloud) -> None:
    """The game writes into its folder of the share as the user that it is, whatever node it runs on."""
    engine = await stage.engine()
    want, launch, folder = await in_share(stage, engine, cloud)
    first = engine.observed(want.server_id).node
    assert first is not None
    assert len((folder / "starts").read_text().splitlines()) == 1
    assert ((folder / "starts").stat().st_uid, folder.stat().st_mode & 0o777) == (10000, 0o750)
    assert disk(engine, want) is None
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    stage.cluster.kubectl("cordon", first)
    try:
        await engine.apply(replace(want, folder=None), launch)  # it is there: nobody makes it anew
        await reaches(engine, want, Phase.READY)
    finally:
        stage.cluster.kubectl("uncordon", first)
    assert engine.observed(want.server_id).node not in {first, None}
    assert len((folder / "starts").read_text().splitlines()) == 2
    assert not (folder / "two-at-once").exists()


async def test_a_share_admits_one_pod(stage: KubeStage, cloud: AzureCloud) -> None:
    """A second pod on the same world waits, on any node: two writers would spoil it."""
    engine = await stage.engine()
    await in_share(stage, engine, cloud)
    pods = json.loads(stage.kubectl("get", "pods", "--output=json"))["items"]
    spec = pods[0]["spec"]
    spec.pop("nodeName")
    spec["volumes"] = [one for one in spec["volumes"] if not one["name"].startswith("kube-api")]
    stage.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other", "namespace": stage.namespace}, "spec": spec}
    )
    path = "jsonpath={.status.conditions[*].message}"

    def is_refused() -> bool:
        return "ReadWriteOncePod" in stage.kubectl("get", "pod", "other", "--output", path)

    await eventually(is_refused, LONG, "the second pod waits for the first")
    stage.kubectl("delete", "pod", "other")


async def test_a_purge_leaves_no_folder_behind(stage: KubeStage, cloud: AzureCloud) -> None:
    """Not while it runs; then claim and volume, then the folder, and the share and its neighbours stay."""
    engine = await stage.engine()
    want, launch, folder = await in_share(stage, engine, cloud)
    neighbour = await cloud.ensure_folder(want.server_id, 2)
    removal = Removal(want.server_id, 1, Storage.SHARE)
    with pytest.raises(EngineUnavailable, match="still runs"):
        await engine.delete(removal)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    await engine.delete(removal)
    await eventually(lambda: volume(stage) is None, LONG, "the volume is gone")
    assert folder.is_dir()
    await cloud.remove_folder(want.server_id, 1)
    assert not folder.exists()
    assert (folder.parent / neighbour.attributes["folderName"]).is_dir()
    await engine.delete(removal)  # once more, as after a crash
    await cloud.remove_folder(want.server_id, 1)


async def test_a_folder_that_is_not_made_yet_holds_up_the_world(stage: KubeStage) -> None:
    """Nothing is made that would wait for it."""
    engine = await stage.engine()
    want = replace(stage.want(), storage=Storage.SHARE)
    with pytest.raises(EngineUnavailable, match="folder"):
        await engine.apply(want, stage.launch(engine, want, "good"))
    assert not engine.observed(want.server_id).exists
