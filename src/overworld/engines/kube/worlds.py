"""Worlds in the cluster: made, grown and removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from overworld.domain.conditions import Reason
from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.domain.observed import Removal, Want
from overworld.domain.servers import ServerId
from overworld.domain.worlds import Storage, WantedFolder, say_size
from overworld.engines.kube.client import KubeClient, Missing
from overworld.engines.kube.models import Claim
from overworld.engines.kube.names import claim_name
from overworld.engines.kube.options import KubeOptions
from overworld.engines.kube.paths import VOLUMES, Paths
from overworld.engines.kube.state import ClusterState
from overworld.engines.kube.volumes import render_claim, render_volume, see_disk, volume_name
from overworld.engines.kube.writes import put, send

TRY_GROWING_AGAIN = timedelta(minutes=1)

UntilGone = Callable[[Callable[[], bool], str], Awaitable[None]]


class Worlds:
    """The volumes of one engine's servers. The caller has one call at a time for each server.

    ``until_gone`` waits for a condition to come true, and raises EngineUnavailable with the name of what it waits for.
    """

    def __init__(
        self, client: KubeClient, paths: Paths, state: ClusterState, options: KubeOptions, until_gone: UntilGone
    ) -> None:
        self._client = client
        self._paths = paths
        self._state = state
        self._options = options
        self._until_gone = until_gone

    async def make(self, want: Want) -> None:
        """The wanted generation has its claim, and a folder's volume before it. Raises EngineRefused for one that was
        seen before and is gone, EngineUnavailable while an older one is on its way out or the folder is not made."""
        name = claim_name(want.server_id, want.world_generation)
        known = self._state.claims.find(name)
        if known is not None:
            if known.is_world:
                return
            if known.metadata.deletion_timestamp is None:
                raise EngineUnavailable(f"The world of the volume claim {name} is still being made.")
            raise EngineUnavailable(f"The volume claim {name} is still being removed.")
        if not want.may_make_world:
            raise EngineRefused(
                "WorldMissing",
                f"The world's volume claim {name} is not in the namespace {self._options.namespace} any more, and "
                "nothing is started on an empty volume. Its volume was kept (Retain): make the claim again with "
                "spec.volumeName set to it. The server then starts by itself.",
            )
        if want.storage is Storage.SHARE:
            if want.folder is None:
                raise EngineUnavailable("The folder of its world has yet to be made in the share.")
            # First: a claim that names a volume waits for it, a volume without its claim is found again by its name.
            await self._send_volume(want.server_id, want.world_generation, want.folder)
        await put(self._client, self._paths.claims, render_claim(want, self._options), self._state.claims, Claim)

    async def place(self, server_id: ServerId, generation: int, folder: WantedFolder) -> None:
        """The claim of a generation that a worker has begun has that folder as its volume. Nothing is made for one that
        was given up or is gone."""
        claim = self._state.claims.find(claim_name(server_id, generation))
        if claim is not None and claim.is_in_share and claim.is_being_made:
            await self._send_volume(server_id, generation, folder)

    async def _send_volume(self, server_id: ServerId, generation: int, folder: WantedFolder) -> None:
        await send(self._client, VOLUMES, render_volume(server_id, generation, folder, self._options))

    async def grow(self, want: Want) -> None:
        """The claim of the wanted generation asks for the wanted size, if it has a disk that is smaller; the cluster
        grows it while the game runs. A claim that was never used is left as it is: it can be grown when it has its
        disk. Raises EngineRefused (``CannotGrow``) where the cluster does not do it."""
        claim = self._state.claims.find(claim_name(want.server_id, want.world_generation))
        disk = see_disk(claim) if claim is not None else None
        if claim is None or disk is None or disk.mib is None or want.disk_mib is None:
            return
        if want.storage is Storage.SHARE or disk.asked_mib >= want.disk_mib:
            return
        try:
            # Its size alone: its class may be another than the one that new worlds get by now, and cannot be changed.
            size = {"spec": {"resources": {"requests": {"storage": f"{want.disk_mib}Mi"}}}}
            grown = await self._client.merge(f"{self._paths.claims}/{claim.metadata.name}", size)
        except Missing:
            return  # a new look will tell
        except EngineRefused as error:
            wish = f"Its disk cannot grow from {say_size(disk.mib)} to {say_size(want.disk_mib)}"
            if "must support resize" in error.detail:  # the words of the API server's admission
                told = (
                    f"{wish}: its storage class {claim.spec.storage_class_name} does not let volumes grow. The "
                    "operator has to set allowVolumeExpansion in it."
                )
            else:
                told = f"{wish}: {error.detail}"
            raise EngineRefused(Reason.CANNOT_GROW, told, retry_after=TRY_GROWING_AGAIN) from error
        self._state.claims.remember(msgspec.json.decode(grown, type=Claim))

    async def remove(self, removal: Removal) -> None:
        """That generation has neither claim nor volume. A disk goes with its volume; a share's folder stays, for the
        cloud to remove. Raises EngineUnavailable while something runs on it, or until the cluster has let go of it."""
        server_id, generation = removal.server_id, removal.world_generation
        assert generation is not None  # or it is no world
        if self._state.is_active(server_id) and self._generation_in_use(server_id) == generation:
            raise EngineUnavailable(f"server {server_id} still runs on what is to be removed")
        name = claim_name(server_id, generation)
        claim = self._state.claims.find(name)
        # The volume first, or it would outlive its claim for good. It goes once the claim has (a finalizer of the
        # cluster's); whatever dies in between, the claim is there to tell of it.
        is_share = (
            claim is not None and claim.is_in_share if removal.storage is None else removal.storage is Storage.SHARE
        )
        if is_share:
            # Never by its policy: Delete would have the driver remove the share. Also without a claim, for a first
            # volume is made before it.
            await self._client.delete(f"{VOLUMES}/{volume_name(self._options.namespace, server_id, generation)}")
        elif claim is not None and claim.spec.volume_name:
            await self._delete_with_claim(claim.spec.volume_name)
        if claim is not None:
            await self._client.delete(f"{self._paths.claims}/{name}", uid=claim.metadata.uid)
            await self._until_gone(lambda: self._state.claims.find(name) is None, f"the volume claim {name}")

    async def _delete_with_claim(self, volume: str) -> None:
        try:
            await self._client.merge(f"{VOLUMES}/{volume}", {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
        except Missing:
            return

    def _generation_in_use(self, server_id: ServerId) -> int:
        objects = self._state.objects(server_id)
        pod, deployment = objects.pod(), objects.deployment
        if pod is not None:
            return pod.metadata.world_generation
        return deployment.spec.template.metadata.world_generation if deployment is not None else 0
