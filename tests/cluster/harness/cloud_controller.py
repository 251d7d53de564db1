"""Stands in for Azure's cloud controller: gives Services of type LoadBalancer their address, one after another.

It reads, writes, refuses and retries as the real one was seen to (its release of August 2026): a missing IP is an event
and no address, tries are 5, 10, 20 ... 300 s apart, a change of an annotation makes it try at once, and its finalizer
goes when its work is done. Not modelled: the reads of a no-op resync and of a new node, internal balancers, several
balancers, IPv6, services with fixed ``loadBalancerIP``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import httpx2
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.resources.core_v1 import Node, Service
from lightkube.types import PatchType

from azure_standin.installation import AzureStage
from cluster.harness.annotations import BadAnnotation
from cluster.harness.arm_client import ArmClient, ArmRefused
from cluster.harness.azure_resources import AzureResources, MissingPublicIp
from cluster.harness.cloud_events import record_event
from cluster.harness.cloud_settings import CloudSettings
from cluster.harness.watches import Key, follow

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
_EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


class CloudController:
    """One worker over all Services. ``run`` works until cancelled."""

    def __init__(self, kubeconfig: Path, azure: AzureStage, settings: CloudSettings) -> None:
        self._kubeconfig, self._azure, self._settings = kubeconfig, azure, settings
        self._services: dict[Key, Any] = {}
        self._nodes: dict[str, str] = {}
        self._seen: dict[Key, object] = {}
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        settings = self._settings
        client = AsyncClient(config=KubeConfig.from_file(self._kubeconfig), trust_env=False)
        arm = ArmClient(self._azure, settings)
        resources = AzureResources(arm, settings.own_group)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_services(client))
                group.create_task(self._follow_nodes(client))
                group.create_task(self._work(client, resources))
        finally:
            await arm.close()
            await client.close()

    # --- What wakes it ----------------------------------------------------------------------------------------------

    async def _follow_services(self, client: AsyncClient) -> None:
        async for key, service in follow(client, Service):
            if service is None:
                self._services.pop(key, None)
                self._seen.pop(key, None)
                continue
            self._services[key] = service
            seen = _what_counts(service)
            if self._seen.get(key) != seen and (_wants_balancer(service) or _has_finalizer(service)):
                self._enqueue(key, 0.0)
            self._seen[key] = seen

    async def _follow_nodes(self, client: AsyncClient) -> None:
        async for (_, name), node in follow(client, Node, is_namespaced=False):
            before = dict(self._nodes)
            addresses = (node.status.addresses or ()) if node else ()
            address = next((one.address for one in addresses if one.type == "InternalIP"), None)
            if address is None or _EXCLUDED in (node.metadata.labels or {}):
                self._nodes.pop(name, None)
            else:
                self._nodes[name] = address
            if self._nodes != before:
                for key, service in self._services.items():
                    if _wants_balancer(service):
                        self._enqueue(key, 0.0)

    def _enqueue(self, key: Key, after_seconds: float) -> None:
        due = time.monotonic() + after_seconds
        self._due[key] = min(due, self._due.get(key, due))
        self._wake.set()

    # --- What it does -----------------------------------------------------------------------------------------------

    async def _work(self, client: AsyncClient, resources: AzureResources) -> None:
        while True:
            self._wake.clear()
            key = min(self._due, key=lambda one: self._due[one], default=None)
            pause = None if key is None else self._due[key] - time.monotonic()
            if key is None or (pause is not None and pause > 0):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
                continue
            del self._due[key]
            service = self._services.get(key)
            if service is None:
                self._failures.pop(key, None)
                continue
            if await self._attempt(client, resources, service):
                self._failures.pop(key, None)
            else:
                count = self._failures[key] = self._failures.get(key, 0) + 1
                wait = self._settings.retry_seconds * 2 ** (count - 1)
                self._enqueue(key, min(wait, self._settings.longest_retry_seconds))

    async def _attempt(self, client: AsyncClient, resources: AzureResources, service: Any) -> bool:
        """Bring one Service into order; whether that went well."""
        try:
            if _wants_balancer(service):
                await self._ensure(client, resources, service)
            elif _has_finalizer(service):
                await self._clean_up(client, resources, service)
        except (ArmRefused, MissingPublicIp, BadAnnotation, httpx.HTTPError) as error:
            doing = "ensure" if _wants_balancer(service) else "delete"
            message = f"Error syncing load balancer: failed to {doing} load balancer: {error}"
            await record_event(client, service, "Warning", "SyncLoadBalancerFailed", message)
            return False
        except ApiError as error:
            return error.status.code == 404
        except httpx2.HTTPError:
            return False
        return True

    async def _ensure(self, client: AsyncClient, resources: AzureResources, service: Any) -> None:
        await record_event(client, service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        if not _has_finalizer(service):
            await _patch_finalizers(client, service, lambda finalizers: [*finalizers, FINALIZER])
        address = await resources.ensure(service, sorted(self._nodes.values()))
        if _status_addresses(service) != [address]:
            status = {"status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}}
            await client.patch(
                Service.Status,
                service.metadata.name,
                status,
                namespace=service.metadata.namespace,
                patch_type=PatchType.MERGE,
            )
        await record_event(client, service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    async def _clean_up(self, client: AsyncClient, resources: AzureResources, service: Any) -> None:
        await record_event(client, service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        await resources.remove(service)
        if service.metadata.deletionTimestamp is None:
            status: dict[str, Any] = {"status": {"loadBalancer": {"ingress": None}}}
            await client.patch(
                Service.Status,
                service.metadata.name,
                status,
                namespace=service.metadata.namespace,
                patch_type=PatchType.MERGE,
            )
        await _patch_finalizers(client, service, lambda finalizers: [one for one in finalizers if one != FINALIZER])
        await record_event(client, service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")


def _wants_balancer(service: Any) -> bool:
    is_wanted = service.spec.type == "LoadBalancer" and not service.spec.loadBalancerClass
    return is_wanted and service.metadata.deletionTimestamp is None


def _has_finalizer(service: Any) -> bool:
    return FINALIZER in (service.metadata.finalizers or ())


def _what_counts(service: Any) -> object:
    """What the real controller compares: neither labels nor selector nor target ports nor status."""
    spec = service.spec
    return (
        service.metadata.uid,
        _wants_balancer(service),
        dict(service.metadata.annotations or {}),
        [(port.name, port.protocol, port.port, port.nodePort) for port in spec.ports or ()],
        (spec.type, spec.loadBalancerIP, spec.loadBalancerSourceRanges, spec.sessionAffinity),
        (spec.externalTrafficPolicy, spec.healthCheckNodePort, spec.ipFamilies),
    )


def _status_addresses(service: Any) -> list[str | None]:
    balancer = service.status.loadBalancer if service.status else None
    return [ingress.ip for ingress in (balancer.ingress if balancer else None) or ()]


async def _patch_finalizers(client: AsyncClient, service: Any, change: Callable[[list[str]], list[str]]) -> None:
    """Read again before, and as often as somebody else writes in between: another's finalizer must not be lost."""
    name, namespace = service.metadata.name, service.metadata.namespace
    while True:
        current = await client.get(Service, name, namespace=namespace)
        assert current.metadata is not None
        wanted = change(list(current.metadata.finalizers or ()))
        body = {"metadata": {"finalizers": wanted, "resourceVersion": current.metadata.resourceVersion}}
        try:
            await client.patch(Service, name, body, namespace=namespace, patch_type=PatchType.MERGE)
            return
        except ApiError as error:
            if error.status.code != 409:
                raise
