"""Azure as a ``Cloud``: public IPs in a resource group of ours, folders in one share of Azure Files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport

from overworld.cloud.azure.answers import as_cloud_error, code_of, no_token
from overworld.cloud.azure.arm import COMPUTE_VERSION, NETWORK_VERSION, STORAGE_VERSION, Arm, Transport
from overworld.cloud.azure.machines import machine_path, machine_state_of
from overworld.cloud.azure.place import ORPHAN_TAG, AzurePlace, Endpoints, Patience
from overworld.cloud.azure.public_ip import (
    UNSETTLED,
    Json,
    address_of,
    address_seen,
    is_attached,
    mended_public_ip,
    refuse_foreign,
    refuse_unfit,
    wanted_public_ip,
)
from overworld.cloud.base import Address, AddressSeen, Cloud, Folder, MachineState
from overworld.cloud.capacity import AddressQuota, Capacity
from overworld.domain.errors import CloudRefused, CloudUnavailable
from overworld.domain.servers import ServerId
from overworld.domain.worlds import NO_SHARES

if TYPE_CHECKING:
    from overworld.cloud.azure.files import Files

# Every quota that a Standard, static IPv4 address counts against, by the names that the usages list has for them.
QUOTAS = frozenset({"PublicIPAddresses", "StaticPublicIPAddresses", "IPv4StandardSkuPublicIpAddresses"})

MACHINE_MISSING = frozenset({"ResourceNotFound", "NotFound", "ParentResourceNotFound"})

DRIVER = "file.csi.azure.com"
# No hard links, strict caching, one connection a mount, 30 s of attributes, no byte-range locks (games that lock their
# own files would stand still over SMB).
MOUNT_OPTIONS = ("mfsymlinks", "cache=strict", "nosharesock", "actimeo=30", "nobrl")


class AzureCloud(Cloud):
    """The port's promises on Azure. The identity needs Network Contributor on the resource group, Reader on the
    subscription's usages, with shares the two roles of the storage account (docs/azure-addresses.md), and to power
    off nodes Virtual Machine Contributor on the node resource group (docs/nodes.md)."""

    def __init__(
        self,
        place: AzurePlace,
        credential: AsyncTokenCredential,
        *,
        endpoints: Endpoints | None = None,
        patience: Patience | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Opens nothing yet. ``transport`` (its connections, not its policies) is closed with the cloud, as is the
        credential."""
        self._place = place
        self._endpoints = endpoints or Endpoints()
        self._patience = patience or Patience()
        self._credential = credential
        self._transport = transport or AioHttpTransport(connection_verify=self._endpoints.ca_file or True)
        self._arm = Arm(self._endpoints, credential, self._patience, self._transport)
        self._files: Files | None = None

    async def ensure_address(self, server_id: ServerId, label: str) -> Address:
        """One GET if all is well; else one PUT and its operation."""
        path = self._place.address_path(server_id)
        async with self._bounded(f"make the public IP {self._place.address_name(server_id)} ({label})"):
            seen = await self._settled(path)
            if seen is None:
                seen = await self._arm.put(path, NETWORK_VERSION, wanted_public_ip(self._place, server_id, label))
            else:
                refuse_foreign(seen, self._place, server_id)
                refuse_unfit(seen, self._place)
                body = mended_public_ip(seen, self._place, server_id, label)
                if body is not None:
                    seen = await self._arm.put(path, NETWORK_VERSION, body)
            if seen["properties"]["provisioningState"] != "Succeeded" or not seen["properties"].get("ipAddress"):
                state = seen["properties"]["provisioningState"]
                raise CloudUnavailable(f"The public IP {seen['name']} is {state} and has no address yet.")
            return address_of(seen, self._place, server_id)

    async def release_address(self, server_id: ServerId) -> None:
        """One GET, one DELETE and its operation."""
        path = self._place.address_path(server_id)
        async with self._bounded(f"delete the public IP {self._place.address_name(server_id)}"):
            seen = await self._settled(path)
            if seen is None:
                return
            refuse_foreign(seen, self._place, server_id)
            if is_attached(seen):
                raise CloudUnavailable(f"A balancer still uses the public IP {seen['name']}: its Service is not gone.")
            await self._arm.delete(path, NETWORK_VERSION)

    async def addresses(self) -> tuple[AddressSeen, ...]:
        """All pages of the resource group, those of this installation picked out."""
        async with self._bounded(f"list the public IPs of {self._place.resource_group}"):
            listed = await self._arm.items(self._place.addresses_path, NETWORK_VERSION)
        found = [address_seen(one, self._place) for one in listed]
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.resource))

    async def mark_orphan(self, server_id: ServerId, since: datetime | None) -> None:
        """A tag on the IP: people see it in the portal too."""
        path = self._place.address_path(server_id)
        async with self._bounded(f"tag the public IP {self._place.address_name(server_id)}"):
            seen = await self._settled(path)
            if seen is None:
                return
            refuse_foreign(seen, self._place, server_id)
            tags = {key: value for key, value in seen["tags"].items() if key != ORPHAN_TAG}
            if since is not None:
                tags[ORPHAN_TAG] = since.isoformat(timespec="seconds")
            if tags != seen["tags"]:
                await self._arm.write("PATCH", path, NETWORK_VERSION, {"tags": tags})

    async def capacity(self) -> Capacity:
        """The region's usages, and the balancer's rules of one node."""
        async with self._bounded(f"read the network quotas of {self._place.region}"):
            usages = await self._arm.items(self._place.usages_path, NETWORK_VERSION)
        quotas = [
            AddressQuota(
                place=self._place.region,
                used=usage["currentValue"],
                limit=usage["limit"],
                remedy=f"Raise the quota {usage['name']['value']} of {self._place.region} (Azure portal: Quotas, "
                "Networking), or delete public IPs there that nobody needs.",
            )
            for usage in usages
            if usage["name"]["value"] in QUOTAS
        ]
        return Capacity(address_quotas=tuple(quotas), balancer_ports=self._place.balancer_ports)

    async def ensure_folder(self, server_id: ServerId, world_generation: int) -> Folder:
        """One request if the share is there; else one to ARM and one more."""
        files = self._open_files()
        place = self._place
        name = place.folder_name(server_id, world_generation)
        async with self._bounded(f"make the folder {name} in the share {place.share}"):
            if not await files.make_folder(name):
                body: Json = {"properties": {"shareQuota": place.share_gib, "enabledProtocols": "SMB"}}
                await self._arm.write("PUT", place.share_path, STORAGE_VERSION, body)
                if not await files.make_folder(name):
                    raise CloudUnavailable(f"The share {place.share} was made and is not there yet.")
        return Folder(
            server_id=server_id,
            world_generation=world_generation,
            driver=DRIVER,
            attributes={
                "resourceGroup": place.resource_group,
                "storageAccount": str(place.storage_account),
                "shareName": place.share,
                "folderName": name,
                # The node mounts as the kubelet's identity: no account key in a Secret.
                "mountWithManagedIdentity": "true",
            },
            mount_options=MOUNT_OPTIONS,
        )

    async def remove_folder(self, server_id: ServerId, world_generation: int) -> None:
        """A request for each file and folder: about 1,000 files a second at best."""
        if self._place.storage_account is None:
            return
        name = self._place.folder_name(server_id, world_generation)
        async with self._bounded(f"remove the folder {name} from the share {self._place.share}"):
            await self._open_files().remove_folder(name)

    async def machine_state(self, provider_id: str) -> MachineState:
        """One GET of the machine's instance view."""
        path = machine_path(self._place, provider_id)
        async with self._bounded(f"ask about the machine {_short(path)}"):
            try:
                return machine_state_of(await self._arm.get(f"{path}/instanceView", COMPUTE_VERSION))
            except HttpResponseError as error:
                if error.status_code == 404 and code_of(error) == "ParentResourceNotFound":
                    return MachineState.GONE  # its whole scale set is gone
                raise

    async def power_off(self, provider_id: str) -> None:
        """One POST and its operation (10-60 s). Its guest is not asked: what does not answer would keep it waiting."""
        path = machine_path(self._place, provider_id)
        async with self._bounded(f"power off the machine {_short(path)}"):
            try:
                await self._arm.act(f"{path}/powerOff", COMPUTE_VERSION, skipShutdown="true")
            except HttpResponseError as error:
                if error.status_code != 404 or code_of(error) not in MACHINE_MISSING:
                    raise

    async def close(self) -> None:
        """Close connections and credential."""
        if self._files is not None:
            await self._files.close()
        await self._arm.close()
        await self._credential.close()

    def _open_files(self) -> Files:
        account = self._place.storage_account
        if account is None:
            raise CloudRefused(
                "NoShares",
                NO_SHARES,
                retry_after=None,
            )
        if self._files is None:
            from overworld.cloud.azure.files import Files  # noqa: PLC0415 - 18 MiB that only shares need

            url = self._endpoints.storage.format(account=account)
            self._files = Files(url, self._place.share, self._credential, self._patience, self._transport)
        return self._files

    async def _settled(self, path: str) -> Json | None:
        """The public IP once nothing works on it any more, whoever began that: the rest of a call that died."""
        while True:
            seen = await self._arm.get(path, NETWORK_VERSION)
            if seen is None or seen["properties"]["provisioningState"] not in UNSETTLED:
                return seen
            await asyncio.sleep(self._patience.poll_interval.total_seconds())

    @asynccontextmanager
    async def _bounded(self, doing: str) -> AsyncIterator[None]:
        """The deadline of one call, and Azure's errors as the port's."""
        try:
            async with asyncio.timeout(self._patience.deadline.total_seconds()):
                yield
        except TimeoutError as error:
            seconds = self._patience.deadline.total_seconds()
            raise CloudUnavailable(f"Azure did not {doing} within {seconds:g} s; it is tried again.") from error
        except AzureError as error:
            raise as_cloud_error(error, doing) from error
        except OSError as error:  # not the network (that is an AzureError): the identity's token file cannot be read
            raise no_token(error, doing) from error
        except ExceptionGroup as group:  # files are deleted side by side: the first that failed says why
            first = group.exceptions[0]
            if isinstance(first, AzureError):
                raise as_cloud_error(first, doing) from first
            raise


def _short(path: str) -> str:
    """The part of a machine's path that names it among the cluster's."""
    return path.partition("/providers/Microsoft.Compute/")[2] or path
