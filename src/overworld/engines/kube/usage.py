"""What pods use now, as their nodes' kubelets tell it (``/metrics/resource``): one question for all pods of a node."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from overworld.engines.kube.client import KubeClient
from overworld.engines.kube.names import CONTAINER

FRESH_SECONDS = 2.0
"""How long an answer serves the other pods of the node."""

_SAMPLE = re.compile(
    r'^(container_cpu_usage_seconds_total|container_memory_working_set_bytes)\{container="'
    + CONTAINER
    + r'",namespace="([^"]+)",pod="([^"]+)"\} (\S+)',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class PodUsage:
    """Of the game's container."""

    cpu_seconds: float
    memory_mib: float


def parse_usage(text: str, namespace: str) -> dict[str, PodUsage]:
    """Pod name to usage, for the games on a node. A pod that lacks one of the two is left out."""
    seen: dict[str, dict[str, float]] = {}
    for name, space, pod, value in _SAMPLE.findall(text):
        if space == namespace:
            seen.setdefault(pod, {})[name] = float(value)
    return {
        pod: PodUsage(
            cpu_seconds=values["container_cpu_usage_seconds_total"],
            memory_mib=values["container_memory_working_set_bytes"] / 2**20,
        )
        for pod, values in seen.items()
        if len(values) == 2
    }


class NodeUsage:
    """Asks kubelets, each at most once at a time. Rights: ``nodes/metrics`` (get), never ``nodes/proxy``."""

    def __init__(
        self, client: KubeClient, namespace: str, kubelet_port: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._port = kubelet_port
        self._clock = clock
        self._answers: dict[str, tuple[float, dict[str, PodUsage]]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def of(self, host: str, pod: str) -> PodUsage | None:
        """What that pod on that host uses; None if the kubelet has not measured it yet. Raises EngineUnavailable if
        the kubelet does not answer."""
        async with self._locks.setdefault(host, asyncio.Lock()):
            asked_at, answer = self._answers.get(host, (float("-inf"), {}))
            if self._clock() - asked_at > FRESH_SECONDS or pod not in answer:
                address = f"[{host}]" if ":" in host else host
                body = await self._client.get(f"https://{address}:{self._port}/metrics/resource")
                answer = parse_usage(body.decode("utf-8", "replace"), self._namespace)
                self._answers[host] = (self._clock(), answer)
        return answer.get(pod)
