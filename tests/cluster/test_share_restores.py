"""Worlds in a share, restored in place on a real cluster: by the API of a whole installation, killed in the midst, and
step by step with the rights of each role."""

from __future__ import annotations

import asyncio
import io
import json
import os
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.commands import CommandFailed
from cluster.harness.image_builds import REGISTRY, TAG, build_images
from cluster.harness.names import HOST_ADDRESS, SHARES_FOLDER
from cluster.kube_stage import KubeStage
from cluster.rights import CONTROLLER, WORKER
from cluster.scripted_image import CATALOGUE
from cluster.test_storage import cloud, in_share  # noqa: F401 - a fixture
from cluster.test_whole import (
    NAMESPACE,
    api,  # noqa: F401 - a fixture
    create,
    overworld_on,
    until_state,
)
from contract.test_engine import reaches
from installation import Installation, json_of
from overworld.cloud.azure.cloud import AzureCloud
from overworld.domain.errors import EngineUnavailable
from overworld.domain.observed import Phase, Removal, Want
from overworld.domain.worlds import Storage, WantedFolder
from overworld.engines.kube.engine import KubeEngine
from overworld.engines.kube.names import claim_name, steward_name
from s3 import S3
from waiting import eventually, wait_until

SHARE = SHARES_FOLDER / "worlds"
GAME_USER = 10000
LONG = 90.0


@pytest.fixture(scope="module")
def s3(prepared: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A store on the network of the cluster, and the image from which stewards reach it."""
    for archive in build_images("overworld"):
        prepared.import_images(archive)
    with S3(tmp_path_factory.mktemp("store") / "s3", HOST_ADDRESS) as server:
        yield server


@pytest.fixture(scope="module")
def installation(prepared: Cluster, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Overworld that saves, with a game that likes shares: so its clones lie in one."""
    store = {**s3.settings(), "save_store_ca_file": str(s3.ca_file), "save_schedule": ""}
    games = tmp_path_factory.mktemp("games")
    good = (CATALOGUE / "good.toml").read_text()
    (games / "shared.toml").write_text(f'image = "good"\n{good}\n[world]\nstorage = "share"\n')
    image = f"{REGISTRY}/overworld:{TAG}"
    with overworld_on(prepared, kube_steward_image=image, catalogue_folders=f"{CATALOGUE}:{games}", **store) as it:
        yield it


def folder(server_id: str, generation: int) -> Path:
    """Where that generation of its world is."""
    return SHARE / claim_name(server_id, generation)


def write(server_id: str, generation: int, **files: bytes) -> None:
    """As its game would."""
    for name, content in files.items():
        path = folder(server_id, generation) / name
        path.write_bytes(content)
        os.chown(path, GAME_USER, GAME_USER)


def read(server_id: str, generation: int, name: str) -> bytes:
    """What is in that file."""
    return (folder(server_id, generation) / name).read_bytes()


def ended(api: httpx.Client, answer: httpx.Response, outcome: str = "succeeded") -> dict[str, Any]:  # noqa: F811
    """The operation, once it has ended so."""
    where = f"/operations/{json_of(answer)['id']}"

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = json_of(api.get(where))
        return None if found["outcome"] == "running" else found

    done = wait_until(look, 150, f"{where} ends")
    assert done is not None
    assert done["outcome"] == outcome, done
    return done


def save(api: httpx.Client, server_id: str) -> str:  # noqa: F811
    """A save of the world as it is; its id."""
    ended(api, api.post(f"/servers/{server_id}/saves", json={}))
    return newest(api, server_id)


def newest(api: httpx.Client, server_id: str) -> str:  # noqa: F811
    """The id of its last save."""
    return str(json_of(api.get(f"/servers/{server_id}/saves"))["items"][0]["id"])


def claims(cluster: Cluster) -> str:
    """The names of all claims of games, and of all volumes."""
    return cluster.kubectl("get", "pvc", "-n", NAMESPACE, "-o", "name") + cluster.kubectl("get", "pv", "-o", "name")


def programs(cluster: Cluster, pod: str) -> str:
    """What runs in that pod's steward, once there is one."""
    look = "import glob; print([open(each).read() for each in glob.glob('/proc/[0-9]*/cmdline')])"
    command = ("exec", "-n", NAMESPACE, pod, "--container=steward", "--", "/usr/bin/python3", "-I", "-c", look)
    with suppress(CommandFailed):
        return cluster.kubectl(*command)
    return ""


@pytest.mark.timeout(500)
def test_a_world_in_a_share_is_restored_undone_and_cloned(prepared: Cluster, api: httpx.Client) -> None:  # noqa: F811
    """In place, beside the present one; single files into the world as it is; what was brought is saved; a purge leaves
    no folder of it all."""
    server_id = create(api, "shared")
    until_state(api, server_id, "running")
    url = f"/servers/{server_id}"
    write(server_id, 1, castle=b"early", field=b"early")
    first = save(api, server_id)
    write(server_id, 1, castle=b"late", field=b"late")
    ended(api, api.post(f"{url}/restore", json={"save_id": first}))
    until_state(api, server_id, "running")
    assert (read(server_id, 2, "castle"), read(server_id, 1, "castle")) == (b"early", b"late")
    assert len(read(server_id, 2, "starts").splitlines()) == 2  # it runs on this one
    ended(api, api.post(f"{url}/undo-restore"))
    until_state(api, server_id, "running")
    assert len(read(server_id, 1, "starts").splitlines()) == 2
    ended(api, api.post(f"{url}/restore", json={"save_id": first, "paths": ["castle"]}))
    until_state(api, server_id, "running")
    assert (read(server_id, 3, "castle"), read(server_id, 3, "field")) == (b"early", b"late")
    assert read(server_id, 3, "saves")  # the last stop's

    clone = ended(api, api.post(f"/saves/{first}/clone", json={"name": "copy"}))["server_id"]
    assert json_of(api.get(f"/servers/{clone}"))["storage"] == "share"
    assert read(clone, 2, "castle") == b"early"
    wait_until(lambda: not folder(clone, 1).exists(), LONG, "the folder that the clone was born with is gone")

    brought = io.BytesIO()
    with zipfile.ZipFile(brought, "w") as archive:
        archive.writestr("castle", "brought")
    octets = {"Content-Type": "application/octet-stream"}
    ended(api, api.post(f"{url}/saves/upload", content=brought.getvalue(), headers=octets, timeout=LONG))
    wait_until(lambda: not folder(server_id, 4).exists(), LONG, "the folder of the upload is gone")
    ended(api, api.post(f"{url}/restore", json={"save_id": newest(api, server_id)}))
    assert read(server_id, 5, "castle") == b"brought"
    for gone in (server_id, clone):
        json_of(api.delete(f"/servers/{gone}", params={"retention_seconds": 0}))
        wait_until(lambda: api.get(f"/servers/{gone}").status_code == 404, LONG, "it is purged")  # noqa: B023
        assert not list(SHARE.glob(f"{gone}*"))
        wait_until(lambda: gone not in claims(prepared), LONG, "neither claim nor volume is left")  # noqa: B023


@pytest.mark.timeout(400)
def test_all_of_overworld_killed_in_the_midst_of_a_restore(
    prepared: Cluster,
    installation: Installation,
    s3: S3,
    api: httpx.Client,  # noqa: F811
) -> None:
    """The old world plays on untouched, what is half made is nobody's world, and the restore goes on; one called
    off leaves neither folder nor claim nor volume. A world whose claim is gone comes back too."""
    server_id = create(api, storage="share")
    until_state(api, server_id, "running")
    url = f"/servers/{server_id}"
    write(server_id, 1, castle=os.urandom(10_000_000))
    first, castle = save(api, server_id), read(server_id, 1, "castle")
    answer = api.post(f"{url}/restore", json={"save_id": first})
    with frozen_at(prepared, s3, server_id, 2):
        kill(installation)
        installation.start()
        mark = ("get", "pvc", "-n", NAMESPACE, claim_name(server_id, 2), "-o", "jsonpath={.metadata.annotations}")
        assert "being-made" in prepared.kubectl(*mark)
        assert read(server_id, 1, "castle") == castle
        assert len(read(server_id, 1, "starts").splitlines()) == 1
    ended(api, answer)
    until_state(api, server_id, "running")
    assert (read(server_id, 2, "castle"), read(server_id, 1, "castle")) == (castle, castle)

    answer = api.post(f"{url}/restore", json={"save_id": first})
    with frozen_at(prepared, s3, server_id, 3):
        json_of(api.post(f"/operations/{json_of(answer)['id']}/cancel"))
        ended(api, answer, "cancelled")
    assert not folder(server_id, 3).exists()
    wait_until(lambda: claim_name(server_id, 3) not in claims(prepared), LONG, "neither claim nor volume is left")
    assert json_of(api.get(url))["state"] == "running"
    assert {path.name for path in SHARE.glob(f"{server_id}*")} == {claim_name(server_id, each) for each in (1, 2)}

    ended(api, api.post(f"{url}/stop"))
    prepared.kubectl("delete", "pvc", "-n", NAMESPACE, claim_name(server_id, 2))
    ended(api, api.post(f"{url}/restore", json={"save_id": first}))
    assert read(server_id, 4, "castle") == castle
    json_of(api.post(f"{url}/start"))
    until_state(api, server_id, "running")


@contextmanager
def frozen_at(cluster: Cluster, s3: S3, server_id: str, generation: int) -> Iterator[None]:
    """While that generation is being restored the store answers no more, until the end of the block."""
    wait_until(folder(server_id, generation).is_dir, LONG, "its folder is made")
    s3.freeze()
    try:
        pod = steward_name(server_id, generation)
        wait_until(lambda: "restic" in programs(cluster, pod), LONG, "restic works")
        yield
    finally:
        s3.thaw()


def kill(installation: Installation) -> None:
    """Every role at once, as the power of their machine would."""
    up = installation.up
    assert up is not None
    processes = [psutil.Process(up.pid), *psutil.Process(up.pid).children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    up.wait(20)
    psutil.wait_procs(processes, timeout=20)


class Roles:
    """A server in a share, and whoever works on it with the rights of its own role."""

    def __init__(self, stage: KubeStage, cloud: AzureCloud) -> None:  # noqa: F811
        stage.config = stage.accounts.config(CONTROLLER)
        self.stage, self.cloud = stage, cloud
        self.worker = KubeEngine(stage.accounts.config(WORKER), stage.options, observe_only=True)

    async def start(self) -> Want:
        """The server runs."""
        self.controller = await self.stage.engine()
        want, self.launch, _ = await in_share(self.stage, self.controller, self.cloud)
        await self.worker.start(lambda _: None)
        return want

    async def place(self, want: Want, generation: int) -> Path:
        """What the controller does once it sees that a worker waits."""

        def is_seen() -> bool:
            return generation in self.controller.observed(want.server_id).begun

        await eventually(is_seen, 30, "the controller sees what was begun")
        made = await self.cloud.ensure_folder(want.server_id, generation)
        folder = WantedFolder(made.driver, made.attributes, made.mount_options)
        await self.controller.place_world(want.server_id, generation, folder)
        return SHARE / made.attributes["folderName"]


@pytest.fixture
async def roles(stage: KubeStage, cloud: AzureCloud) -> AsyncIterator[Roles]:  # noqa: F811
    """Not started."""
    found = Roles(stage, cloud)
    yield found
    await found.worker.close()


async def test_each_role_does_its_part_with_its_own_rights(roles: Roles) -> None:
    """The worker's claim waits for its folder and is no world until it is finished; what is given up is removed when no
    steward has it, its volume's policy never turned; and what was given up is placed no more."""
    want = await roles.start()
    stewards, server_id = roles.worker.stewards, want.server_id
    waiting = asyncio.create_task(stewards.begin_world(server_id, 2, like=1))
    await roles.place(want, 2)
    await waiting
    assert not stewards.exists(server_id, 2)
    assert roles.controller.observed(server_id).worlds == {1}
    await stewards.finish_world(server_id, 2)
    assert stewards.exists(server_id, 2)
    await eventually(lambda: roles.controller.observed(server_id).worlds == {1, 2}, 30, "it is a world")

    waiting = asyncio.create_task(stewards.begin_world(server_id, 3))
    folder = await roles.place(want, 3)
    await waiting
    async with stewards.run(server_id, 3, "/world", ("/usr/bin/python3", "-c", "open('half', 'w'); input()")):
        await eventually((folder / "half").exists, 60, "a steward works on it")
        giving_up = asyncio.create_task(stewards.give_up_world(server_id, 3))
        await eventually(lambda: roles.controller.observed(server_id).given_up == {3}, 60, "no steward has it")
    with pytest.raises(EngineUnavailable):
        await stewards.begin_world(server_id, 3)
    with pytest.raises(EngineUnavailable):
        await stewards.finish_world(server_id, 3)
    name = f"{roles.stage.namespace}-{claim_name(server_id, 3)}"
    ask = ("get", "persistentvolume", name, "--output=json")
    assert json.loads(roles.stage.kubectl(*ask))["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    await roles.cloud.remove_folder(server_id, 3)
    await roles.controller.delete(Removal(server_id, 3, Storage.SHARE))
    await giving_up
    assert not folder.exists()
    await eventually(lambda: name not in roles.stage.kubectl("get", "pv", "--output=name"), 30, "its volume is gone")
    await roles.controller.place_world(server_id, 3, WantedFolder("driver", {}, ()))
    assert name not in roles.stage.kubectl("get", "pv", "--output=name")
    await roles.controller.apply(replace(want, running=False), roles.launch)
    await reaches(roles.controller, want, Phase.STOPPED)
