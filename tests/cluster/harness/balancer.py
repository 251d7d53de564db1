"""The data plane of the stand-in balancer: probes the nodes and points each public address at one that answers.

It knows what is written in ARM and nothing of Kubernetes, as Azure's: it goes on while the API server is down. A real
balancer spreads flows over all healthy nodes; here an address has one route, which is the same for a game with one pod.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from azure_standin.server import AzureStandIn
from cluster.harness.cloud_settings import CloudSettings
from cluster.harness.commands import CommandFailed, run
from cluster.harness.names import BRIDGE

_TICK_SECONDS = 0.05
_PROBE_TIMEOUT_SECONDS = 2.0
_FAILURES_UNTIL_DOWN = 2


@dataclass(frozen=True)
class Probe:
    """One check of one node: an HTTP path that must answer 200, or a TCP port that must accept."""

    node: str
    port: int
    path: str | None


class Balancer:
    """Serves the frontends of one balancer resource. ``routes``: the node that each address leads to now."""

    def __init__(self, azure: AzureStandIn, path: str, settings: CloudSettings) -> None:
        self._settings = settings
        self.routes: dict[str, str] = {}
        self._azure, self._path = azure, path
        self._failures: dict[Probe, int] = {}
        self._due: dict[Probe, float] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_SECONDS, trust_env=False) as client:
            changes, frontends = -1, {}
            while True:
                if changes != self._azure.balancers.changes:
                    with self._azure.lock:
                        changes = self._azure.balancers.changes
                        frontends = dict(self._frontends())
                await self._probe(client, {probe for probes in frontends.values() for probe in probes})
                await self._point(frontends)
                await asyncio.sleep(_TICK_SECONDS)

    def _frontends(self) -> Iterator[tuple[str, tuple[Probe, ...]]]:
        """Each address and the probes that decide which of the nodes may get its packets."""
        body = self._azure.balancers.resources.get(self._path.lower())
        properties = body["properties"] if body else {}
        pool = [member["ipAddress"] for member in properties.get("backendAddresses", ())]
        probes = {probe["name"]: probe["properties"] for probe in properties.get("probes", ())}
        for frontend in properties.get("frontendIPConfigurations", ()):
            name = frontend["properties"]["publicIPAddress"]["id"].rpartition("/")[2]
            public_ip = self._azure.network.addresses.get(name)
            probe: dict[str, Any] | None = probes.get(frontend["name"])
            if public_ip is not None and probe is not None:
                yield (
                    public_ip["properties"]["ipAddress"],
                    tuple(Probe(node, probe["port"], probe.get("requestPath")) for node in pool),
                )

    async def _probe(self, client: httpx.AsyncClient, wanted: set[Probe]) -> None:
        for probe in self._due.keys() - wanted:
            del self._due[probe]
            self._failures.pop(probe, None)
        now = time.monotonic()
        due = [probe for probe in wanted if self._due.get(probe, 0.0) <= now]
        for probe, is_up in zip(due, await asyncio.gather(*(_answers(client, probe) for probe in due)), strict=True):
            # One that was never seen up is down; one that was up is so until it has failed twice.
            self._failures[probe] = 0 if is_up else self._failures.get(probe, _FAILURES_UNTIL_DOWN) + 1
            self._due[probe] = now + self._settings.probe_seconds

    async def _point(self, frontends: dict[str, tuple[Probe, ...]]) -> None:
        wanted: dict[str, str] = {}
        for address, probes in frontends.items():
            healthy = [probe.node for probe in probes if self._failures.get(probe, 9) < _FAILURES_UNTIL_DOWN]
            if healthy:
                current = self.routes.get(address)
                wanted[address] = current if current in healthy else healthy[0]
        for address in self.routes.keys() - wanted.keys():
            with suppress(CommandFailed):  # the route goes by itself with the bridge
                await asyncio.to_thread(run, ["ip", "route", "delete", f"{address}/32", "dev", BRIDGE])
        for address, node in wanted.items():
            if self.routes.get(address) != node:
                route = ["ip", "route", "replace", f"{address}/32", "via", node, "dev", BRIDGE]
                await asyncio.to_thread(run, route)
        self.routes = wanted


async def _answers(client: httpx.AsyncClient, probe: Probe) -> bool:
    if probe.port == 0:  # what comes of a Service without node ports under externalTrafficPolicy: Cluster
        return False
    try:
        if probe.path is not None:
            return (await client.get(f"http://{probe.node}:{probe.port}{probe.path}")).status_code == 200
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(probe.node, probe.port), timeout=_PROBE_TIMEOUT_SECONDS
        )
        writer.close()
    except (httpx.HTTPError, OSError, TimeoutError):
        return False
    return True
