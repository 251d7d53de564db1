"""Folders in a share of Azure Files, by the storage account's own interface (ARM knows shares, not folders)."""

from __future__ import annotations

import asyncio

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.fileshare.aio import ShareClient, ShareDirectoryClient

from overworld.cloud.azure.answers import code_of
from overworld.cloud.azure.arm import Transport
from overworld.cloud.azure.place import Patience

AT_ONCE = 16  # files deleted at a time: one takes about 20 ms


class Files:
    """One share. Raises Azure's own errors.

    Signs in with the same identity as everything else (``token_intent=backup``: the role must be Storage File Data
    Privileged Contributor), so that no account key is ever read.
    """

    def __init__(
        self, account_url: str, share: str, credential: AsyncTokenCredential, patience: Patience, transport: Transport
    ) -> None:
        pause = max(1, round(patience.first_pause.total_seconds())) if patience.first_pause else 0
        self._share = ShareClient(
            account_url,
            share,
            credential=credential,
            token_intent="backup",  # noqa: S106 - not a password: Azure's word for "as an administrator, whatever the ACLs"
            transport=transport,
            retry_total=patience.tries - 1,
            initial_backoff=pause,
            increment_base=pause,
            random_jitter_range=pause,
        )

    async def make_folder(self, name: str) -> bool:
        """The folder exists; returns False if there is no share to make it in."""
        try:
            await self._share.get_directory_client(name).create_directory()
        except ResourceExistsError as error:
            if code_of(error) != "ResourceAlreadyExists":  # the same class for a share that is being deleted
                raise
        except ResourceNotFoundError:
            return False
        return True

    async def remove_folder(self, name: str) -> None:
        """The folder and all in it are gone."""
        await self._empty(self._share.get_directory_client(name))

    async def close(self) -> None:
        """Close the connections."""
        await self._share.close()

    async def _empty(self, folder: ShareDirectoryClient) -> None:
        try:
            files: list[str] = []
            async for entry in folder.list_directories_and_files():
                if entry.is_directory:
                    await self._empty(folder.get_subdirectory_client(entry.name))
                else:
                    files.append(entry.name)
                if len(files) == AT_ONCE:
                    await self._delete(folder, files)
                    files = []
            await self._delete(folder, files)
            await folder.delete_directory()
        except ResourceNotFoundError:
            return  # gone, by an earlier try

    async def _delete(self, folder: ShareDirectoryClient, files: list[str]) -> None:
        async def one(name: str) -> None:
            try:
                await folder.delete_file(name)
            except ResourceNotFoundError:
                return

        async with asyncio.TaskGroup() as group:
            for name in files:
                group.create_task(one(name))
