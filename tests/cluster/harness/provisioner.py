"""Stands in for Azure's disk and file drivers: makes a volume for each claim that a scheduled pod waits for.

The volumes are ``local`` ones in a folder of the host that every node sees, with affinity to all game nodes, so that a
world re-attaches on another node. What this cannot show: a disk's attach and detach, and the minutes that Kubernetes
waits before it detaches a lost node's disk.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.models.core_v1 import (
    LocalVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectReference,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import PersistentVolume, PersistentVolumeClaim
from lightkube.resources.storage_v1 import StorageClass
from lightkube.types import PatchType

from cluster.harness.node import GAME_LABEL
from cluster.harness.watches import follow

DISK = "disk.csi.azure.com"
FILE = "file.csi.azure.com"
_PAUSE_SECONDS = 0.2
_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
_MADE_BY = "pv.kubernetes.io/provisioned-by"
GROWS = "grows"
"""A parameter of a StorageClass: "no" makes volumes that the driver fails to grow, as a disk beyond its type's limit.
(A class that does not allow it at all is the API server's to refuse.)"""


class Provisioner:
    """Provisions, grows (a claim asks for more) and deletes (policy Delete, claim gone) volumes below ``folder``."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self._kubeconfig, self._folder = kubeconfig, folder

    async def run(self) -> None:
        """Work until cancelled."""
        self._folder.mkdir(parents=True, exist_ok=True)
        client = AsyncClient(config=KubeConfig.from_file(self._kubeconfig), trust_env=False)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_claims(client))
                group.create_task(self._follow_volumes(client))
        finally:
            await client.close()

    async def _follow_claims(self, client: AsyncClient) -> None:
        async for _, claim in follow(client, PersistentVolumeClaim):
            annotations = (claim and claim.metadata.annotations) or {}
            if annotations.get(_PROVISIONER) not in {DISK, FILE}:
                continue
            if claim.status.phase == "Pending":
                await _persist(lambda: self._provision(client, claim, annotations[_PROVISIONER]))  # noqa: B023
            elif claim.status.phase == "Bound":
                await _persist(lambda: self._grow(client, claim))  # noqa: B023

    async def _provision(self, client: AsyncClient, claim: PersistentVolumeClaim, driver: str) -> None:
        assert claim.metadata is not None
        assert claim.spec is not None
        assert claim.spec.resources is not None
        storage_class = await client.get(StorageClass, str(claim.spec.storageClassName))
        name = f"pvc-{claim.metadata.uid}"
        path = self._folder / name
        path.mkdir(exist_ok=True)
        label, value = GAME_LABEL
        game_nodes = NodeSelectorTerm(
            matchExpressions=[NodeSelectorRequirement(key=label, operator="In", values=[value])]
        )
        volume = PersistentVolume(
            metadata=ObjectMeta(name=name, annotations={_MADE_BY: driver}),
            spec=PersistentVolumeSpec(
                accessModes=claim.spec.accessModes,
                capacity=claim.spec.resources.requests,
                claimRef=ObjectReference(
                    apiVersion="v1",
                    kind="PersistentVolumeClaim",
                    name=claim.metadata.name,
                    namespace=claim.metadata.namespace,
                    uid=claim.metadata.uid,
                ),
                local=LocalVolumeSource(path=str(path)),
                nodeAffinity=VolumeNodeAffinity(required=NodeSelector(nodeSelectorTerms=[game_nodes])),
                persistentVolumeReclaimPolicy=storage_class.reclaimPolicy or "Delete",
                storageClassName=claim.spec.storageClassName,
                volumeMode=claim.spec.volumeMode,
            ),
        )
        await client.create(volume)

    async def _grow(self, client: AsyncClient, claim: PersistentVolumeClaim) -> None:
        assert claim.metadata is not None
        assert claim.spec is not None
        assert claim.spec.resources is not None
        assert claim.status is not None
        wanted = (claim.spec.resources.requests or {}).get("storage")
        if wanted is None or (claim.status.capacity or {}).get("storage") == wanted:
            return
        storage_class = await client.get(StorageClass, str(claim.spec.storageClassName))
        if (storage_class.parameters or {}).get(GROWS) == "no":
            failed = {"type": "ControllerResizeError", "status": "True", "message": "the disk's type ends at that size"}
            if failed["type"] not in {one.type for one in claim.status.conditions or ()}:
                await self._tell(client, claim, {"conditions": [failed]})
            return
        capacity = {"capacity": {"storage": wanted}}
        await client.patch(PersistentVolume, str(claim.spec.volumeName), {"spec": capacity}, patch_type=PatchType.MERGE)
        await self._tell(client, claim, {**capacity, "conditions": None})

    async def _tell(self, client: AsyncClient, claim: PersistentVolumeClaim, status: dict[str, object]) -> None:
        assert claim.metadata is not None
        await client.patch(
            PersistentVolumeClaim.Status,
            str(claim.metadata.name),
            {"status": status},
            namespace=claim.metadata.namespace,
            patch_type=PatchType.MERGE,
        )

    async def _follow_volumes(self, client: AsyncClient) -> None:
        async for (_, name), volume in follow(client, PersistentVolume, is_namespaced=False):
            if volume is None or (volume.metadata.annotations or {}).get(_MADE_BY) not in {DISK, FILE}:
                continue
            if volume.status.phase == "Released" and volume.spec.persistentVolumeReclaimPolicy == "Delete":
                await asyncio.to_thread(shutil.rmtree, volume.spec.local.path, ignore_errors=True)
                await _persist(lambda: client.delete(PersistentVolume, name))  # noqa: B023


async def _persist(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try until the API server answers; what is gone, or was made in an earlier round, is settled."""
    while True:
        try:
            return await attempt()
        except httpx2.TransportError:
            await asyncio.sleep(_PAUSE_SECONDS)
        except ApiError as error:
            if error.status.code in {404, 409}:
                return None
            if error.status.code is None or error.status.code < 500:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
