"""The files of a save, looked through and taken away. Web asks the worker, and hands on what comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from overworld.services import saves as service
from overworld.web.api.files import (
    PASSIVE,
    PATH_WORDS,
    STREAM_SECONDS,
    FileEntry,
    FilePath,
    show_entry,
    show_name_of_download,
)
from overworld.web.routes import Answer, Call, Media, Reply, Routes
from overworld.web.wire import Asked, Shown

routes = Routes("saved-files", "The files of saves.")

LIST_SECONDS = 60


class SavedFolderAsked(Asked):
    """Which folder."""

    path: FilePath = Field(default="", description=PATH_WORDS + " Left out: the top.")


class SavedContentAsked(SavedFolderAsked):
    """Which file or folder."""

    archive: Literal["zip", "tar"] | None = Field(default=None, description="A folder, or all, as such an archive.")


class SavedFileList(Shown):
    """All of a folder, by name."""

    items: list[FileEntry]


@routes.route(
    "GET", "/saves/<save_id>/files", Answer(200, "The folder.", SavedFileList), query=SavedFolderAsked, problems=(409,)
)
def list_folder(call: Call, save_id: str, query: SavedFolderAsked) -> Callable[[], Reply]:
    """List a folder of a save, as a restore would make it."""
    asked = {"verb": "list", "path": query.path, "seconds": LIST_SECONDS}
    ticket = service.permit_reading(call.tx, call.actor, save_id, asked, call.now)

    def read() -> Reply:
        items, _ = call.installation.worker.ask(ticket)
        folder = query.path.strip("/")
        entries = [show_entry(item, f"{folder}/{item['name']}" if folder else item["name"]) for item in items]
        return Reply(200, SavedFileList(items=entries))

    return read


@routes.route(
    "GET",
    "/saves/<save_id>/content",
    Answer(200, "The bytes.", also=(Media.BYTES,)),
    query=SavedContentAsked,
    problems=(409,),
)
def download(call: Call, save_id: str, query: SavedContentAsked) -> Callable[[], Reply]:
    """Download a file of a save, or a folder (or all) of it as zip or tar."""
    asked = {"verb": "download", "path": query.path, "seconds": STREAM_SECONDS}
    if query.archive is not None:
        asked["archive"] = query.archive
    ticket = service.permit_reading(call.tx, call.actor, save_id, asked, call.now)

    def fetch() -> Reply:
        found = call.installation.worker.fetch(ticket)
        headers = {**show_name_of_download(query.path, query.archive), **PASSIVE}
        if found.length is not None:
            headers["Content-Length"] = str(found.length)
        return Reply(200, pieces=found.pieces, headers=headers)

    return fetch
