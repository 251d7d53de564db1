"""The floor: a bare program that applies the objects of many servers with lightkube and watches until all are ready.

``python -m bench.kube.bare KUBECONFIG FIRST COUNT`` in tests prints one line of JSON: seconds and CPU seconds. It knows
nothing of databases, drift, failures or stops; the objects are those that Overworld's engine renders.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from lightkube import AsyncClient, KubeConfig, codecs
from lightkube.resources.apps_v1 import Deployment
from lightkube.types import on_error_stop

from bench.kube.rows import GAME, MEMORY_MIB, server_ids
from bench.kube.stage import BARE_NAMESPACE, GAMES_FOLDER, REGISTRY, STORAGE_CLASS, TAG
from cluster.scripted_image import STEWARD_IMAGE
from overworld.domain.games import Game
from overworld.domain.observed import Want, WantedAddress
from overworld.domain.servers import Desired, Endpoint, Network, Server
from overworld.engines.kube.launches import LAYOUT
from overworld.engines.kube.objects import render_deployment, render_secret, render_service
from overworld.engines.kube.options import KubeOptions, ServiceType
from overworld.engines.kube.volumes import render_claim
from overworld.games.catalogue import Catalogue
from overworld.games.launch import render_launch

IN_FLIGHT = 32
WATCH_SECONDS = 60
OPTIONS = KubeOptions(
    namespace=BARE_NAMESPACE,
    registry=REGISTRY,
    image_tag=TAG,
    steward_image=STEWARD_IMAGE,
    storage_class=STORAGE_CLASS,
    world_size_mib=64,
    service_type=ServiceType.CLUSTER_IP,
    cpu_request_millis=10,
)


@dataclass(frozen=True)
class Run:
    """One run of the program."""

    seconds: float
    cpu_seconds: float


def run_bare(kubeconfig: Path, first: int, count: int) -> Run:
    """Run it in a process of its own."""
    command = [sys.executable, "-m", "bench.kube.bare", str(kubeconfig), str(first), str(count)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Run(**json.loads(told))


@cache
def _load_game() -> Game:
    game = Catalogue.load((GAMES_FOLDER,)).find(GAME)
    assert game is not None
    return game


def render_server(server_id: str) -> list[dict[str, Any]]:
    """The manifests of one server, in the order in which they are applied."""
    game = _load_game()
    endpoints = tuple(Endpoint(port.name, port.protocol, "", port.default) for port in game.ports)
    now = datetime.now(UTC)
    server = Server(
        id=server_id,
        number=1,
        account_id="bench",
        name=server_id,
        game=GAME,
        generation=1,
        desired=Desired.RUNNING,
        desired_generation=1,
        restarts=0,
        variables={},
        memory_mib=MEMORY_MIB,
        world_generation=1,
        retired_worlds=(),
        created_at=now,
        updated_at=now,
    )
    launch = render_launch(game, server, LAYOUT, endpoints)
    want = Want(
        server_id=server_id,
        number=1,
        running=True,
        restarts=0,
        spec_hash="0123456789abcdef",
        world_generation=1,
        memory_mib=MEMORY_MIB,
        endpoints=endpoints,
        address=WantedAddress(),
        network=Network.STABLE,
    )
    return [
        render_service(want, WantedAddress(), OPTIONS),
        render_claim(want, OPTIONS),
        render_secret(want, launch),
        render_deployment(want, launch, OPTIONS),
    ]


async def apply_all(kubeconfig: Path, ids: list[str]) -> float:
    """The seconds until every server is ready."""
    servers = [[codecs.from_dict(manifest) for manifest in render_server(server_id)] for server_id in ids]
    config = KubeConfig.from_file(kubeconfig)
    client = AsyncClient(config=config, namespace=BARE_NAMESPACE, field_manager="bare", trust_env=False)
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def apply(objects: list[Any]) -> None:
        async with limit:
            for one in objects:
                await client.apply(one, force=True)

    began = time.monotonic()
    watching = asyncio.create_task(_until_ready(client, set(ids)))
    await asyncio.gather(*(apply(objects) for objects in servers))
    await watching
    seconds = time.monotonic() - began
    await client.close()
    return seconds


async def _until_ready(client: AsyncClient, missing: set[str]) -> None:
    """Watches; looks at everything again when a watch has ended, for none promises to tell all."""
    while missing:
        async for deployment in client.list(Deployment):
            _note(deployment, missing)
        watch = client.watch(Deployment, server_timeout=WATCH_SECONDS, on_error=on_error_stop)
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                async for _, deployment in watch:
                    _note(deployment, missing)
                    if not missing:
                        break


def _note(deployment: Deployment, missing: set[str]) -> None:
    if deployment.status and deployment.status.readyReplicas and deployment.metadata:
        missing.discard(str(deployment.metadata.name))


def main() -> None:
    """Run and tell."""
    kubeconfig, first, count = sys.argv[1:]
    began = time.process_time()  # without its imports: the controller's are not counted either
    seconds = asyncio.run(apply_all(Path(kubeconfig), server_ids(int(first), int(count))))
    print(json.dumps({"seconds": seconds, "cpu_seconds": time.process_time() - began}))


if __name__ == "__main__":
    main()
