"""The engine of a Kubernetes cluster: what is wanted is applied, what is there is watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from weakref import WeakValueDictionary

import msgspec
from lightkube import KubeConfig

from overworld.domain.errors import EngineUnavailable
from overworld.domain.games import Protocol
from overworld.domain.observed import Launch, Layout, Observed, Phase, Removal, Usage, Want
from overworld.domain.servers import ServerId
from overworld.domain.worlds import WantedFolder
from overworld.engines.base import Engine, Wake
from overworld.engines.kube.client import KubeClient, Missing
from overworld.engines.kube.evacuation import KubeNodes
from overworld.engines.kube.giving_way import GivingWay
from overworld.engines.kube.host_ports import NodeHosts, see_host
from overworld.engines.kube.launches import LAYOUT
from overworld.engines.kube.models import Deployment, Service
from overworld.engines.kube.news import News
from overworld.engines.kube.objects import render_deployment, render_secret, render_service
from overworld.engines.kube.options import KubeOptions
from overworld.engines.kube.paths import Paths
from overworld.engines.kube.recorder import ExitRecorder
from overworld.engines.kube.roster import ask_roster
from overworld.engines.kube.state import ClusterState
from overworld.engines.kube.stewards import Stewards
from overworld.engines.kube.usage import NodeUsage
from overworld.engines.kube.watch import WatchTimes
from overworld.engines.kube.worlds import Worlds
from overworld.engines.kube.writes import is_as, put, send

GONE_WITHIN_SECONDS = 5.0
MOST_APPLIED_AT_ONCE = 24
"""Servers. Of a thousand the first is to have its pod before the last has its Service; and an API server that is asked
for more at once answers everything later, not sooner."""


class KubeEngine(Engine):
    """Runs servers as Deployments in one namespace of a cluster.

    Several at once do no harm: server-side apply is idempotent, and a volume admits one pod. One that is
    ``observe_only`` writes nothing by itself, and is for roles that only look.
    """

    def __init__(
        self,
        config: KubeConfig,
        options: KubeOptions,
        *,
        observe_only: bool = False,
        times: WatchTimes | None = None,
    ) -> None:
        self._options = options
        self._times = times or WatchTimes()
        self._paths = Paths(options.namespace)
        self._client = KubeClient(config)
        self._state = ClusterState(self._client, self._paths, self._on_change)
        # Whoever only looks at games is told where they are reached by the rows.
        self._nodes = (
            None
            if observe_only
            else KubeNodes(config, self._client, self._paths, self._state, on_change=self._on_node_change)
        )
        self._hosts = NodeHosts()
        self._recorder = None if observe_only else ExitRecorder(self._client, self._paths, self._state)
        self._worlds = Worlds(self._client, self._paths, self._state, options, self._until_gone)
        self._giving_way = (
            None if observe_only else GivingWay(self._client, self._paths, self._state, self._remove_unwanted)
        )
        self.stewards = Stewards(self._client, self._paths, self._state, options, lambda: self._changed)
        """The way to its worlds, for whoever may take it."""
        self._usage = NodeUsage(self._client, options.namespace, options.kubelet_port)
        self._locks: WeakValueDictionary[ServerId, asyncio.Lock] = WeakValueDictionary()
        self._changed = asyncio.Event()
        self._news = News(self.observed)

    async def start(self, wake: Wake) -> None:
        self._news.tell(wake)
        await self._state.start(self._times)
        if self._recorder is not None:  # not one that only looks
            for server_id in self._state.server_ids():
                self._look(server_id)
        if self._nodes is not None:
            await self._nodes.start(self._times)

    async def close(self) -> None:
        self._news.tell(None)
        # First, for it ends connections at once: a watch that is cancelled leaves one that is closed politely, by TLS,
        # and that outlives whoever closed it.
        await self._client.close()
        if self._nodes is not None:
            await self._nodes.close()
        await self._state.close()
        if self._recorder is not None:
            await self._recorder.close()
        if self._giving_way is not None:
            await self._giving_way.close()

    def layout(self, server_id: ServerId, world_generation: int) -> Layout:
        return LAYOUT

    def observed(self, server_id: ServerId) -> Observed:
        observed = self._state.observed(server_id)
        pod = self._state.objects(server_id).pod()
        if self._nodes is None or pod is None or not pod.has_host_ports:
            return observed
        return replace(observed, way_in=see_host(pod, self._nodes.find(pod.spec.node_name)))

    def server_ids(self) -> Iterable[ServerId]:
        return sorted(self._state.server_ids())

    async def apply(self, want: Want, launch: Launch) -> None:
        async with self._alone(want.server_id):
            await self._apply(want, launch)

    async def delete(self, removal: Removal) -> None:
        async with self._alone(removal.server_id):
            if removal.world_generation is None:
                await self._delete_rest(removal.server_id)
            else:
                await self._worlds.remove(removal)

    async def place_world(self, server_id: ServerId, world_generation: int, folder: WantedFolder) -> None:
        async with self._alone(server_id):
            await self._worlds.place(server_id, world_generation, folder)

    async def usage(self, server_id: ServerId) -> Usage | None:
        process = self._state.process(server_id)
        pod = self._state.objects(server_id).pod()
        if process is None or process.phase not in {Phase.STARTING, Phase.READY, Phase.STOPPING} or pod is None:
            return None
        game = pod.game
        running = game.state.running if game is not None else None
        if running is None or not pod.status.host_ip:
            return None
        asked = self._usage.of(pod.status.host_ip, pod.metadata.name)
        used, roster = await asyncio.gather(asked, ask_roster(pod.status.pod_ip))
        if used is None:
            raise EngineUnavailable(f"The node of server {server_id} has not measured it yet.")
        return Usage(
            cpu_seconds=used.cpu_seconds,
            memory_mib=used.memory_mib,
            disk_mib=None,
            roster=roster,
            process_started_at=running.started_at or datetime.now(UTC),
        )

    @property
    def nodes(self) -> KubeNodes | None:
        return self._nodes

    @property
    def most_applied_at_once(self) -> int:
        return MOST_APPLIED_AT_ONCE

    async def port_is_free(self, protocol: Protocol, port: int) -> bool:
        return True

    # --- apply

    async def _apply(self, want: Want, launch: Launch) -> None:
        await self._apply_process(want, launch)
        # Last: a disk that cannot grow holds up nothing else.
        await self._worlds.grow(want)

    async def _apply_process(self, want: Want, launch: Launch) -> None:
        if want.address is not None and want.endpoints:
            # Whatever runs: an address is mended under players too.
            service = render_service(want, want.address, self._options)
            await put(self._client, self._paths.services, service, self._state.services, Service)
        process = self._state.process(want.server_id)
        if process is not None and process.phase is not Phase.STOPPED:
            # The next start after a crash is one at which an edit takes effect, so it is not waited for.
            is_outdated = process.restarts != want.restarts or (
                process.phase is Phase.WAITING and process.spec_hash != want.spec_hash
            )
            if process.phase is not Phase.STOPPING and (not want.running or is_outdated):
                await self._stop(want.server_id)
            return
        if want.world_generation < 1:
            return  # asked only to stop, by somebody who knows no more of it
        await self._worlds.make(want)
        deployment = render_deployment(want, launch, self._options)
        known = self._state.deployments.find(want.server_id)
        if known is not None and is_as(known, deployment) and known.spec.replicas == int(want.running):
            return
        # First, so that a pod finds it; whatever made the Deployment differ may be in it.
        await send(self._client, self._paths.secrets, render_secret(want, launch))
        applied = await send(self._client, self._paths.deployments, deployment)
        self._state.deployments.remember(msgspec.json.decode(applied, type=Deployment))

    async def _stop(self, server_id: ServerId) -> None:
        """Its pod is asked to end, by the stop that it was started with."""
        deployment = self._state.objects(server_id).deployment
        if deployment is None or deployment.spec.replicas == 0:
            return  # the pod's end is on its way
        path = f"{self._paths.deployments}/{deployment.metadata.name}"
        try:
            stopped = await self._client.merge(path, {"spec": {"replicas": 0}})
        except Missing:
            return
        self._state.deployments.remember(msgspec.json.decode(stopped, type=Deployment))

    # --- delete

    async def _delete_rest(self, server_id: ServerId) -> None:
        if self._state.is_active(server_id):
            raise EngineUnavailable(f"server {server_id} still runs")
        # What makes pods of it could make one more until it has heard of the end, so its end is waited for.
        await self._client.delete(f"{self._paths.deployments}/{server_id}", after_its_own=True)
        for collection in (self._paths.services, self._paths.secrets):
            await self._client.delete(f"{collection}/{server_id}")
        for pod in self._state.objects(server_id).stewards:
            await self._client.delete(f"{self._paths.pods}/{pod.metadata.name}")

        def is_gone() -> bool:
            objects = self._state.objects(server_id)
            is_run = objects.pods or objects.stewards
            return objects.deployment is None and not objects.services and not is_run

        await self._until_gone(is_gone, f"what is left of server {server_id}")

    async def _until_gone(self, is_gone: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(GONE_WITHIN_SECONDS):
                while not is_gone():
                    await self._changed.wait()
        except TimeoutError as error:
            raise EngineUnavailable(f"The cluster has not finished removing {what}.") from error

    # --- changes

    @asynccontextmanager
    async def _alone(self, server_id: ServerId) -> AsyncIterator[None]:
        """One call at a time for each server; nothing is decided before everything is known."""
        if not self._state.is_complete:
            raise EngineUnavailable("The cluster is still being looked at.")
        lock = self._locks.setdefault(server_id, asyncio.Lock())
        async with lock:
            yield

    def _on_node_change(self, name: str) -> None:
        node = self._nodes.find(name) if self._nodes is not None else None
        if self._hosts.has_changed(name, node):
            for server_id in self._state.server_ids():
                pod = self._state.objects(server_id).pod()
                if pod is not None and pod.has_host_ports and pod.spec.node_name == name:
                    self._news.take(server_id)

    async def _remove_unwanted(self, removal: Removal) -> None:
        async with self._alone(removal.server_id):
            await self._worlds.remove(removal)

    def _look(self, server_id: ServerId) -> None:
        if self._recorder is not None:
            self._recorder.look(server_id)
        if self._giving_way is not None:
            self._giving_way.look(server_id)

    def _on_change(self, server_id: ServerId) -> None:
        if not server_id:
            return
        # A pod that is listed before its Deployment has nowhere to leave its end yet.
        if self._state.is_complete:
            self._look(server_id)
        self._news.take(server_id)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
