"""Writes down how processes ended, before their pods are gone.

A pod's object goes as soon as its containers have ended, and with it what its keeper said last: whether the save was
seen. So every game pod has a finalizer of ours. Here the end is copied onto the Deployment, then the pod is let go:

1. the pod is over; 2. the Deployment remembers (one write); 3. the finalizer is removed (one write).

Killed between 2 and 3, step 2 finds nothing to write the next time. With no controller at all a pod's object waits,
which holds up neither its volume, nor its node's memory, nor the next pod.
"""

from __future__ import annotations

import asyncio
import random

import msgspec
import structlog

from overworld.domain.errors import EngineError
from overworld.domain.servers import ServerId
from overworld.engines.kube.client import KubeClient, Missing
from overworld.engines.kube.exits import recall, remember
from overworld.engines.kube.models import Deployment, Pod
from overworld.engines.kube.names import EXIT_SEEN, LAST_EXIT
from overworld.engines.kube.paths import Paths
from overworld.engines.kube.state import ClusterState

PAUSES_SECONDS = (0.1, 0.5, 2.0, 10.0, 30.0)

log = structlog.get_logger(__name__)


class ExitRecorder:
    """One task at most for each server; faults are retried with growing pauses for as long as it takes."""

    def __init__(self, client: KubeClient, paths: Paths, state: ClusterState) -> None:
        self._client = client
        self._paths = paths
        self._state = state
        self._tasks: dict[ServerId, asyncio.Task[None]] = {}

    def look(self, server_id: ServerId) -> None:
        """Something of that server changed: write down what is to be written. Never blocks, never raises."""
        if server_id not in self._tasks and self._left(server_id):
            self._tasks[server_id] = asyncio.get_running_loop().create_task(self._work(server_id))

    async def close(self) -> None:
        """Stop; what was not written is found again. Safe to call twice."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _left(self, server_id: ServerId) -> list[Pod]:
        """The pods that are over and wait for us, in the order of their lives."""
        pods = [pod for pod in self._state.pods.of(server_id).values() if pod.is_over and not pod.is_steward]
        waiting = [pod for pod in pods if EXIT_SEEN in pod.metadata.finalizers]
        return sorted(waiting, key=lambda pod: (str(pod.metadata.creation_timestamp), pod.metadata.name))

    async def _work(self, server_id: ServerId) -> None:
        try:
            await self._record_all(server_id)
        finally:  # in the step that saw nothing left: a callback would come a step later, and miss what changed between
            del self._tasks[server_id]

    async def _record_all(self, server_id: ServerId) -> None:
        failures = 0
        while left := self._left(server_id):
            try:
                for pod in left:
                    await self._record(server_id, pod)
                failures = 0
            except (EngineError, msgspec.MsgspecError) as error:
                failures += 1
                if failures == len(PAUSES_SECONDS):
                    log.warning("the end of a game cannot be written down", server_id=server_id, error=str(error))
            # Also after a success: the watch has yet to tell that the finalizer is gone.
            pause = PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)]
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (jitter, no secret)

    async def _record(self, server_id: ServerId, pod: Pod) -> None:
        await self._remember(server_id, pod)
        metadata = pod.metadata
        others = [name for name in metadata.finalizers if name != EXIT_SEEN]
        # Of this very version: a finalizer that somebody added in the meantime must not be lost.
        changes = {"metadata": {"finalizers": others, "resourceVersion": metadata.resource_version}}
        path = f"{self._paths.pods}/{metadata.name}"
        try:
            if metadata.deletion_timestamp is None:  # evicted by its node: nobody else would remove it
                await self._client.delete(path, uid=metadata.uid)
                return  # the deletion is a change, and comes back here
            await self._client.merge(path, changes)
        except Missing:
            return

    async def _remember(self, server_id: ServerId, pod: Pod) -> None:
        deployment = self._state.objects(server_id).deployment
        memory = remember(pod)
        if deployment is None or memory is None or deployment.metadata.annotations.get(LAST_EXIT) == memory:
            return
        known, new = recall(deployment), recall(_with_memory(deployment, memory))
        if known is not None and new is not None and known.since > new.since:
            return
        path = f"{self._paths.deployments}/{deployment.metadata.name}"
        try:
            changed = await self._client.merge(path, {"metadata": {"annotations": {LAST_EXIT: memory}}})
        except Missing:
            return
        self._state.deployments.remember(msgspec.json.decode(changed, type=Deployment))


def _with_memory(deployment: Deployment, memory: str) -> Deployment:
    metadata = msgspec.structs.replace(deployment.metadata, annotations={LAST_EXIT: memory})
    return msgspec.structs.replace(deployment, metadata=metadata)
