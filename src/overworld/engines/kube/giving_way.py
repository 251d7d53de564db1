"""Stewards that have to go, and disks of worlds that will never be any: removed by the controller, whoever made them.

A start waits for nobody: the steward that has its world is ended, and what it worked on is told that, and tried again
in the game's own pod. One that has ended by itself (it was idle, or its caller died) leaves its object behind, and in
a restore drill a game that nobody wants any more. One for which no node has room is wanted by nobody after a while.
What was given up in a share is seen by the planner (``Observed.given_up``): its folder is the cloud's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from overworld.domain.errors import EngineError
from overworld.domain.observed import Removal
from overworld.domain.servers import ServerId
from overworld.domain.worlds import Storage
from overworld.engines.kube.client import KubeClient
from overworld.engines.kube.models import Pod
from overworld.engines.kube.paths import Paths
from overworld.engines.kube.state import ClusterState

PAUSES_SECONDS = (0.1, 0.5, 2.0, 10.0, 30.0)
NO_NODE_WITHIN = timedelta(minutes=10)
"""Longer than any worker waits for a node, and than an autoscaler takes to bring one."""

log = structlog.get_logger(__name__)


class GivingWay:
    """One task at most for each server; faults are retried with growing pauses for as long as it takes."""

    def __init__(
        self, client: KubeClient, paths: Paths, state: ClusterState, remove: Callable[[Removal], Awaitable[None]]
    ) -> None:
        self._client = client
        self._paths = paths
        self._state = state
        self._remove = remove
        self._tasks: dict[ServerId, asyncio.Task[None]] = {}
        self._later: dict[ServerId, asyncio.TimerHandle] = {}

    def look(self, server_id: ServerId) -> None:
        """Something of that server changed: remove what is to be removed. Never blocks, never raises."""
        self._look_later(server_id)
        if server_id not in self._tasks and (self._stewards(server_id) or self._disks(server_id)):
            self._tasks[server_id] = asyncio.get_running_loop().create_task(self._run(server_id))

    async def close(self) -> None:
        """Stop; what was not removed is found again. Safe to call twice."""
        for timer in self._later.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_later(self, server_id: ServerId) -> None:
        """No change tells that a pod has waited too long."""
        if (timer := self._later.pop(server_id, None)) is not None:
            timer.cancel()
        waits = [until for pod in self._state.objects(server_id).stewards if (until := _waits_until(pod)) is not None]
        seconds = (min(waits) - datetime.now(UTC)).total_seconds() if waits else 0
        if seconds > 0:
            self._later[server_id] = asyncio.get_running_loop().call_later(seconds + 1, self.look, server_id)

    def _stewards(self, server_id: ServerId) -> list[Pod]:
        """Those that are over or left, and those in the way of a game or of a removal."""
        objects = self._state.objects(server_id)
        deployment = objects.deployment
        needed = {deployment.spec.template.metadata.world_generation} if deployment and objects.is_wanted else set()
        needed |= {claim.metadata.world_generation for claim in objects.claims if claim.metadata.deletion_timestamp}
        needed |= objects.unwanted
        return [
            pod
            for pod in objects.stewards
            if pod.metadata.deletion_timestamp is None
            and (pod.is_over or pod.was_left or pod.worlds & needed or _has_waited(pod))
        ]

    def _disks(self, server_id: ServerId) -> list[int]:
        """The generations that are to be removed here."""
        objects = self._state.objects(server_id)
        disks = {claim.metadata.world_generation for claim in objects.claims if not claim.is_in_share}
        return sorted(objects.unwanted & disks)

    async def _run(self, server_id: ServerId) -> None:
        try:
            await self._remove_all(server_id)
        finally:
            # Not by a callback: a change that came before it would be looked at by nobody.
            del self._tasks[server_id]

    async def _remove_all(self, server_id: ServerId) -> None:
        failures = 0
        while (stewards := self._stewards(server_id)) or self._disks(server_id):
            try:
                for pod in stewards:
                    await self._client.delete(f"{self._paths.pods}/{pod.metadata.name}", uid=pod.metadata.uid)
                for generation in self._disks(server_id):
                    await self._remove(Removal(server_id, generation, Storage.DISK))
                failures = 0
            except EngineError as error:
                failures += 1
                if failures == len(PAUSES_SECONDS):
                    log.warning("what is in a game's way cannot be removed", server_id=server_id, error=error.detail)
            # Also after a success: the watch has yet to tell of it.
            pause = PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)]
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (jitter, no secret)


def _waits_until(pod: Pod) -> datetime | None:
    """Until when a pod without a node is waited for; None for any other."""
    if pod.spec.node_name or pod.metadata.creation_timestamp is None:
        return None
    return pod.metadata.creation_timestamp + NO_NODE_WITHIN


def _has_waited(pod: Pod) -> bool:
    until = _waits_until(pod)
    return until is not None and until < datetime.now(UTC)
