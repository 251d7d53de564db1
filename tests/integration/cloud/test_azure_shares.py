"""Folders in a share of Azure Files: what is made, with which sign-in, and how it is mounted."""

from __future__ import annotations

from azure_standin.installation import AzureStage
from azure_standin.server import SUBSCRIPTION
from overworld.cloud.azure.cloud import AzureCloud
from overworld.cloud.azure.identity import sign_in

ID, OTHER = "bcdf23456789", "bcdf23456788"
FOLDER, NEIGHBOUR = f"{ID}-world-1", f"{OTHER}-world-1"


async def test_one_share_with_a_folder_for_each(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """The share is made once, in its size; each server has a folder; what is in it is left alone."""
    await azure_cloud.ensure_folder(ID, 1)
    azure.standin.shares.paths["worlds"].add(f"{FOLDER}/level.dat")
    await azure_cloud.ensure_folder(OTHER, 1)
    await azure_cloud.ensure_folder(ID, 1)
    assert azure.standin.shares.paths == {"worlds": {f"{FOLDER}/", f"{FOLDER}/level.dat", f"{NEIGHBOUR}/"}}
    assert azure.standin.shares.quotas == {"worlds": 100}


async def test_generations_of_a_world_are_apart(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """A restore gets a folder of its own; the old one goes alone."""
    await azure_cloud.ensure_folder(ID, 1)
    second = await azure_cloud.ensure_folder(ID, 2)
    azure.standin.shares.paths["worlds"].add(f"{second.attributes['folderName']}/level.dat")
    await azure_cloud.remove_folder(ID, 1)
    assert azure.standin.shares.paths["worlds"] == {f"{ID}-world-2/", f"{ID}-world-2/level.dat"}


async def test_a_settled_folder_costs_one_request(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Nothing goes to ARM once the share is there."""
    await azure_cloud.ensure_folder(ID, 1)
    azure.standin.requests.clear()
    await azure_cloud.ensure_folder(ID, 1)
    assert azure.standin.requests == [f"PUT /worlds/{FOLDER}"]


async def test_how_it_is_mounted(azure_cloud: AzureCloud) -> None:
    """Everything that the CSI driver has to be told."""
    folder = await azure_cloud.ensure_folder(ID, 1)
    assert folder.driver == "file.csi.azure.com"
    assert folder.attributes == {
        "resourceGroup": "games",
        "storageAccount": "gameserversa",
        "shareName": "worlds",
        "folderName": FOLDER,
        "mountWithManagedIdentity": "true",
    }
    assert ",".join(folder.mount_options) == "mfsymlinks,cache=strict,nosharesock,actimeo=30,nobrl"


async def test_many_files_go(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """More files than are deleted at a time, in nested folders: all of them, and no neighbour's."""
    await azure_cloud.ensure_folder(ID, 1)
    await azure_cloud.ensure_folder(OTHER, 1)
    paths = azure.standin.shares.paths["worlds"]
    for folder in ("", "region/", "region/deep/"):
        paths.add(f"{FOLDER}/{folder}")
        paths |= {f"{FOLDER}/{folder}r.{number}.mca" for number in range(40)}
    await azure_cloud.remove_folder(ID, 1)
    assert paths == {f"{NEIGHBOUR}/"}


async def test_the_generated_client_makes_the_same_share(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Azure's own client, told the same with its types, sends what we send."""
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.mgmt.storage.aio import StorageManagementClient
    from azure.mgmt.storage.models import FileShare, FileShareProperties

    await azure_cloud.ensure_folder(ID, 1)
    ours = azure.standin.share_bodies.pop()
    credential = sign_in(azure.identity, azure.endpoints)
    generated = StorageManagementClient(
        credential,
        SUBSCRIPTION,
        base_url=azure.endpoints.arm,
        credential_scopes=[f"{azure.endpoints.audience}/.default"],
        transport=AioHttpTransport(connection_verify=azure.ca_file),
    )
    async with credential, generated:
        wish = FileShare(file_share_properties=FileShareProperties(share_quota=100, enabled_protocols="SMB"))
        await generated.file_shares.create("games", "gameserversa", "worlds", wish)
    assert azure.standin.share_bodies == [ours]
    assert len({one for one in azure.standin.requests if "fileServices" in one}) == 1
