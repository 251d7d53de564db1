"""The files of saves, through the same door as the files of worlds: a request that names a snapshot is answered from
the store, everything else by the agent beside the world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from overworld.domain.errors import BadInput, NoSuchSave, Unavailable
from overworld.domain.servers import ServerId
from overworld.engines.base import Done, WorldAccess, WorldAnswer
from overworld.saves.base import FileKind, Repository, SavedFile, SaveStore
from overworld.worker.repositories import Repositories
from overworld.worker.snapshots import STAGING

SNAPSHOT = "snapshot"
"""The key of a request that makes it one about a save."""


class SavedWorlds(WorldAccess):
    """``worlds`` with the saves of the same servers beside them. Only ``list`` and ``download`` are for saves; without
    ``repositories`` they are Unavailable."""

    def __init__(self, worlds: WorldAccess, store: SaveStore, repositories: Repositories | None) -> None:
        self._worlds = worlds
        self._store = store
        self._repositories = repositories

    async def run(
        self,
        server_id: ServerId,
        generation: int,
        request: Mapping[str, Any],
        body: AsyncIterator[bytes] | None = None,
    ) -> WorldAnswer:
        if SNAPSHOT in request:
            answer = self._from_save(server_id, request)
        else:
            answer = self._worlds.run(server_id, generation, request, body)
        async with aclosing(answer):
            async for part in answer:
                yield part

    async def make_world(self, server_id: ServerId, generation: int, *, like: int) -> None:
        await self._worlds.make_world(server_id, generation, like=like)

    async def _from_save(self, server_id: ServerId, request: Mapping[str, Any]) -> WorldAnswer:
        if self._repositories is None:
            raise Unavailable("The save store is not set, so saves cannot be looked into.")
        repository = await self._repositories.find(server_id)
        snapshot_id, path = str(request[SNAPSHOT]), "/" + str(request.get("path", "")).strip("/")
        if request["verb"] == "list":
            for file in await self._list(repository, snapshot_id, path):
                yield _describe(file)
            yield Done({})
            return
        if request["verb"] != "download":
            raise BadInput("Only a listing or a download can be had of a save.")
        archive = request.get("archive")
        if archive is None:
            file = await self._find(repository, snapshot_id, path)
            head, path = _describe(file), file.path
        else:
            head = {"name": PurePosixPath(path).name or "world", "length": None}
        deadline = timedelta(seconds=float(request.get("seconds", 3600)))
        async with aclosing(
            self._store.dump(repository, snapshot_id, path, archive=archive, deadline=deadline)
        ) as pieces:
            first = await anext(pieces, b"")  # a refusal comes here, while it can still be told as one
            yield head
            yield first
            async for piece in pieces:
                yield piece
        yield Done({})

    async def _list(self, repository: Repository, snapshot_id: str, folder: str) -> list[SavedFile]:
        """What a restore would put into the folder: copies of databases appear where they belong."""
        found: dict[str, SavedFile] = {}
        is_there = False
        for place in (folder, f"/{STAGING}{folder}".rstrip("/")):
            try:
                files = await self._store.list_files(repository, snapshot_id, place)
            except NoSuchSave:
                continue
            is_there = True
            for file in files:
                name = PurePosixPath(file.path).name
                if (folder, name) != ("/", STAGING):
                    found.setdefault(name, file)
        if not is_there:
            raise NoSuchSave(f"There is no folder {folder} in the save.")
        return [found[name] for name in sorted(found)]

    async def _find(self, repository: Repository, snapshot_id: str, path: str) -> SavedFile:
        if path == "/":
            raise BadInput("That is the whole save: say which archive it is to be, zip or tar.")
        places = () if path == f"/{STAGING}" else (path, f"/{STAGING}{path}")
        for place in places:
            file = await self._store.find_file(repository, snapshot_id, place)
            if file is None:
                continue
            if file.kind is not FileKind.FILE:
                raise BadInput(f"{path} is a {file.kind}: say which archive it is to be, zip or tar.")
            return file
        raise NoSuchSave(f"There is no {path} in the save.")


def _describe(file: SavedFile) -> dict[str, Any]:
    return {
        "name": PurePosixPath(file.path).name,
        "type": file.kind.value,
        "size": file.size,
        "length": file.size,
        "mode": file.mode & 0o7777,
        "mtime_ns": int(file.modified_at.timestamp() * 1e9),
        "target": None,
    }
