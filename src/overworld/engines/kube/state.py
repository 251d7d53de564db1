"""The live copy of the cluster that an engine decides from: one list-watch for each kind, for all servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from overworld.domain.observed import Observed, Phase, ProcessSeen
from overworld.domain.servers import ServerId
from overworld.engines.kube.client import KubeClient
from overworld.engines.kube.models import Claim, Deployment, Object, Pod, Service
from overworld.engines.kube.paths import Paths
from overworld.engines.kube.seen import ServerObjects, see_disks, see_node, see_place, see_process, see_way_in
from overworld.engines.kube.watch import Cache, ListWatch, WatchTimes

T = TypeVar("T", bound=Object)

COMPLETE_WITHIN_SECONDS = 30.0


class ClusterState:
    """What is known of every server. ``on_change`` is called with the id of each whose objects changed."""

    def __init__(self, client: KubeClient, paths: Paths, on_change: Callable[[ServerId], None]) -> None:
        self._client = client
        self._paths = paths
        self._on_change = on_change
        self.deployments: Cache[Deployment] = Cache(self._changed_deployment)
        self.pods: Cache[Pod] = Cache(on_change)
        self.claims: Cache[Claim] = Cache(on_change)
        self.services: Cache[Service] = Cache(on_change)
        self._watches: list[ListWatch[Any]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._wishes: dict[ServerId, tuple[bool, datetime]] = {}

    async def start(self, times: WatchTimes) -> None:
        """Begin to watch; returns once all is known. Raises EngineUnavailable if that takes too long."""
        for watch in (
            ListWatch(self._client, self._paths.deployments, Deployment, self.deployments, times),
            ListWatch(self._client, self._paths.pods, Pod, self.pods, times),
            ListWatch(self._client, self._paths.claims, Claim, self.claims, times),
            ListWatch(self._client, self._paths.services, Service, self.services, times),
        ):
            self._watches.append(watch)
            self._tasks.append(asyncio.get_running_loop().create_task(watch.run()))
        for watch in self._watches:
            await watch.until_complete(COMPLETE_WITHIN_SECONDS)

    async def close(self) -> None:
        """Stop watching. Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    @property
    def is_complete(self) -> bool:
        """Whether everything was listed."""
        return bool(self._watches) and all(watch.is_complete for watch in self._watches)

    def server_ids(self) -> set[ServerId]:
        """Every server of which there is anything."""
        caches: tuple[Cache[Any], ...] = (self.deployments, self.pods, self.claims, self.services)
        return {server_id for cache in caches for server_id in cache.server_ids() if server_id}

    def objects(self, server_id: ServerId) -> ServerObjects:
        """Everything that belongs to a server."""
        deployments = self.deployments.of(server_id)
        pods = list(self.pods.of(server_id).values())
        return ServerObjects(
            deployment=next(iter(deployments.values()), None),
            pods=[pod for pod in pods if not pod.is_steward],
            claims=list(self.claims.of(server_id).values()),
            services=list(self.services.of(server_id).values()),
            stewards=[pod for pod in pods if pod.is_steward],
        )

    def process(self, server_id: ServerId) -> ProcessSeen | None:
        """The server's process; None if there is none and none is remembered."""
        return self._process(server_id, self.objects(server_id))

    def is_active(self, server_id: ServerId) -> bool:
        """Whether something runs, or will by itself."""
        process = self.process(server_id)
        return process is not None and process.phase is not Phase.STOPPED

    def observed(self, server_id: ServerId) -> Observed:
        """In the words of the port."""
        objects = self.objects(server_id)
        process = self._process(server_id, objects)
        return Observed(
            server_id,
            complete=self.is_complete,
            process=process,
            worlds=objects.worlds,
            exists=objects.exists,
            way_in=see_way_in(objects),
            place=see_place(objects, process),
            node=see_node(objects),
            disks=see_disks(objects),
            begun=objects.begun,
            given_up=objects.given_up,
        )

    def _process(self, server_id: ServerId, objects: ServerObjects) -> ProcessSeen | None:
        wish = self._wishes.get(server_id)
        return see_process(objects, wish[1] if wish is not None else datetime.now(UTC))

    def _changed_deployment(self, server_id: ServerId) -> None:
        deployments = self.deployments.of(server_id)
        if not deployments:
            self._wishes.pop(server_id, None)
        else:
            is_wanted = next(iter(deployments.values())).spec.replicas > 0
            if self._wishes.get(server_id, (None, None))[0] is not is_wanted:
                self._wishes[server_id] = (is_wanted, datetime.now(UTC))
        self._on_change(server_id)
