"""The contract of world access on a real Kubernetes, and what only a cluster has: pods that come and go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from cluster.harness.cluster import Cluster
from cluster.kube_stage import KubeStage
from cluster.world_stage import KubeWorldStage
from contract.test_engine import reaches
from contract.test_world_access import *  # noqa: F403 (the cases are the contract)
from contract.test_world_access import ask, read
from overworld.domain.errors import EngineUnavailable
from overworld.domain.observed import Phase, Want
from overworld.engines.kube.names import steward_name
from waiting import eventually


async def _start(stage: KubeStage, want: Want) -> None:
    engine = await stage.engine()
    await engine.apply(want, stage.launch(engine, want, "good"))
    await reaches(engine, want, Phase.READY)
    await engine.close()


@pytest.fixture(scope="module")
def running(prepared: Cluster) -> Iterator[tuple[KubeStage, Want]]:
    """One game for all cases: each begins with an empty world."""
    stage = KubeStage(prepared)
    want = stage.want()
    asyncio.run(_start(stage, want))
    yield stage, want
    stage.end_all()


@pytest.fixture
async def world_stage(running: tuple[KubeStage, Want]) -> AsyncIterator[KubeWorldStage]:
    """A running game, and a worker."""
    found = KubeWorldStage(*running)
    await found.start()
    yield found
    await found.close()


@pytest.fixture
async def stopped(stage: KubeStage) -> AsyncIterator[KubeWorldStage]:
    """A server that is stopped, with a controller and a worker."""
    want = replace(stage.want(), running=False)
    engine = await stage.engine()
    await engine.apply(want, stage.launch(engine, want, "good"))
    found = KubeWorldStage(stage, want)
    await found.worker.start(lambda _: None)
    yield found
    await found.close()


def pods_of(stage: KubeStage) -> dict[str, Any]:
    """The pods of the stage, by name."""
    items = json.loads(stage.kubectl("get", "pods", "--output=json"))["items"]
    return {item["metadata"]["name"]: item for item in items}


async def test_the_world_of_a_stopped_server_is_reached(stopped: KubeWorldStage) -> None:
    """By a pod that is made for it, of the same restrictions as a game, and used again; it ends by itself when nobody
    wants anything any more, and leaves nothing."""
    await ask(stopped, "write", b"hello", path="file")
    assert await read(stopped, "file") == b"hello"
    ((name, pod),) = pods_of(stopped.stage).items()
    assert name == steward_name(stopped.server_id, 1)
    assert pod["spec"]["activeDeadlineSeconds"] > 0
    assert not pod["spec"]["automountServiceAccountToken"]
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "512Mi"
    await eventually(lambda: pods_of(stopped.stage) == {}, 60, "the idle steward is gone")


async def test_a_start_does_not_wait_for_whoever_works_on_the_world(stopped: KubeWorldStage) -> None:
    """An upload that would go on for ever is cut off, and has changed nothing; the game runs on the world."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    await ask(stopped, "write", b"before", path="file")
    request = {"verb": "upload", "path": "file", "most_bytes": 100}

    async def upload() -> None:
        async with aclosing(stopped.worlds.run(stopped.server_id, 1, request, endless())) as answer:
            async for _ in answer:
                pass

    uploading = asyncio.create_task(upload())
    name = steward_name(stopped.server_id, 1)
    look = ("exec", name, "--", "/usr/bin/python3", "-I", "-c", "import os; print(len(os.listdir('/world')))")
    await eventually(lambda: stopped.stage.kubectl(*look).strip() == "2", 20, "the upload has begun")
    engine = stopped.stage.players[0].engine
    want = replace(stopped.want, running=True)
    await engine.apply(want, stopped.stage.launch(engine, want, "good"))
    with pytest.raises(EngineUnavailable):
        await asyncio.wait_for(uploading, 30)
    await reaches(engine, want, Phase.READY)
    assert await read(stopped, "file") == b"before"
    assert name not in pods_of(stopped.stage)
