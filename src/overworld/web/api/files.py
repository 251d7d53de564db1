"""The files of a server's world. Web sees none of them: it asks the worker, and hands on what comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

from flask import request
from pydantic import Field
from werkzeug.exceptions import ClientDisconnected

from overworld.services import files as service
from overworld.services.files import Permit
from overworld.web.api.file_changes import carry_out, permit_change, permit_writing, write_file
from overworld.web.dispatch import expected_versions, wants
from overworld.web.routes import Answer, Call, Media, Reply, Routes
from overworld.web.wire import Asked, Flag, Given, PageAsked, Shown

routes = Routes("files", "The files of a server's world.")

CHUNK = 256 * 1024
TEXT_BYTES = 4 * 1024 * 1024
SHORT_SECONDS = 20
"""For what is done in a moment; a deletion and what is streamed get longer."""
LONG_SECONDS = 60
STREAM_SECONDS = 12 * 3600
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FilePath = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
PATH_WORDS = (
    "From the top of the world, parts separated by `/`. Bytes of a name that are no UTF-8 are U+10FF80 to U+10FFFF."
)

UNSAVED_WORDS = "Do it at once, though something in the world may not be saved."


class FileEntry(Shown):
    """A file, folder or link of a world."""

    name: str
    path: str
    type: Literal["file", "folder", "link", "other"] = Field(description="Other: a pipe, a socket or a device.")
    size_bytes: int
    mode: str = Field(description="Permissions, octal.", examples=["0644"])
    modified_at: datetime
    target: str | None = Field(description="Where a link leads. It is never followed here.")


class FileChanged(FileEntry):
    """What a change has made."""

    running: bool = Field(description="Whether the game works on the same files: it may write over this.")


class FileList(Shown):
    """A page of a folder, by name."""

    items: list[FileEntry]
    next_page_token: str | None
    running: bool = Field(description="Whether the game works on the same files.")


class FileText(Shown):
    """A text file, whole."""

    path: str
    text: str
    size_bytes: int
    modified_at: datetime
    running: bool = Field(description="Whether the game works on the same files: it may write over an edit.")


class FolderAsked(PageAsked):
    """Which folder."""

    path: FilePath = Field(default="", description=PATH_WORDS)


class FileAsked(Asked):
    """Which file."""

    path: FilePath = Field(description=PATH_WORDS)


class ContentAsked(FileAsked):
    """Which file or folder."""

    archive: Literal["zip", "tar"] | None = Field(default=None, description="A folder, as such an archive.")


class ChangeAsked(FileAsked):
    """Which file."""

    unsaved: Flag = Field(default=False, description=UNSAVED_WORDS)


class RemovalAsked(ChangeAsked):
    """Which file or folder."""

    recursive: Flag = Field(default=False, description="A folder with all that is in it.")


class FolderGiven(Given):
    """A folder to make."""

    path: FilePath = Field(description=PATH_WORDS)


class RenameGiven(Given):
    """What is to be called or to lie otherwise."""

    path: FilePath = Field(description=PATH_WORDS)
    to: FilePath = Field(description="The new path.")
    replace: bool = Field(default=False, description="Take the place of a file that is there.")
    unsaved: bool = Field(default=False, description=UNSAVED_WORDS)


@routes.route(
    "GET",
    "/servers/<server_id>/files",
    Answer(200, "A page of the folder.", FileList),
    query=FolderAsked,
    problems=(409, 412),
)
def list_folder(call: Call, server_id: str, query: FolderAsked) -> Callable[[], Reply]:
    """List a folder."""
    more = {"limit": query.page_size, "after": query.page_token}
    permit = _reading(call, server_id, "list", query.path, SHORT_SECONDS, **more)

    def read() -> Reply:
        items, done = call.installation.worker.ask(permit.ticket)
        folder = query.path.strip("/")
        entries = [show_entry(item, f"{folder}/{item['name']}" if folder else item["name"]) for item in items]
        return Reply(200, FileList(items=entries, next_page_token=done["after"], running=permit.is_running))

    return read


@routes.route(
    "GET",
    "/servers/<server_id>/files/entry",
    Answer(200, "The file, folder or link.", FileEntry),
    query=FileAsked,
    problems=(409, 412),
)
def show(call: Call, server_id: str, query: FileAsked) -> Callable[[], Reply]:
    """Show one file, folder or link."""
    permit = _reading(call, server_id, "stat", query.path, SHORT_SECONDS)
    return lambda: Reply(200, show_entry(call.installation.worker.ask(permit.ticket)[1], query.path))


@routes.route(
    "DELETE",
    "/servers/<server_id>/files",
    Answer(204, "Gone."),
    query=RemovalAsked,
    problems=(409, 412),
)
def remove(call: Call, server_id: str, query: RemovalAsked) -> Callable[[], Reply]:
    """Delete a file, a link or a folder. What a link leads to stays."""
    asked = {"verb": "delete", "path": query.path, "seconds": LONG_SECONDS, "recursive": query.recursive}
    permit = permit_change(call, server_id, asked, f"deleted {query.path}", unsaved=query.unsaved)

    def delete() -> Reply:
        carry_out(call, permit)
        return Reply(204)

    return delete


@routes.route(
    "GET",
    "/servers/<server_id>/files/text",
    Answer(200, "The text; for `Accept: text/plain`, it alone.", FileText, ("ETag",), also=(Media.TEXT,)),
    query=FileAsked,
    problems=(409, 412),
)
def read_text(call: Call, server_id: str, query: FileAsked) -> Callable[[], Reply]:
    """Read a text file of at most 4 MiB, UTF-8."""
    permit = _reading(call, server_id, "read", query.path, SHORT_SECONDS)
    is_plain = wants(Media.TEXT)

    def read() -> Reply:
        found = call.installation.worker.fetch(permit.ticket)
        try:
            text = b"".join(found.pieces).decode()
        finally:
            found.pieces.close()
        if is_plain:
            return Reply(200, text=text, headers={"ETag": f'"{found.item["tag"]}-"', **PASSIVE})
        shown = FileText(
            path=query.path,
            text=text,
            size_bytes=found.item["size"],
            modified_at=_moment(found.item["mtime_ns"]),
            running=permit.is_running,
        )
        return Reply(200, shown, version=found.item["tag"])

    return read


@routes.route(
    "PUT",
    "/servers/<server_id>/files/text",
    Answer(200, "The file, written as a whole.", FileChanged, ("ETag",)),
    query=ChangeAsked,
    problems=(409,),
    takes_if_match=True,
    raw_body=Media.TEXT,
)
def write_text(call: Call, server_id: str, query: ChangeAsked) -> Callable[[], Reply]:
    """Write a text file of at most 4 MiB: the body is its new content, UTF-8.

    With `If-Match` only if nobody else has changed it (412), with `If-None-Match: *` only if there is none. There is
    never half a file, and its permissions stay. A running game may have read it already, or write over it.
    """
    expected = expected_versions()
    tags = ["*"] if request.if_match.star_tag else None if expected is None else sorted(expected)
    more = {"tags": tags, "absent": _only_if_absent()}
    permit = permit_writing(call, server_id, query.path, f"wrote {query.path}", unsaved=query.unsaved, **more)

    def write() -> Reply:
        done, _ = write_file(call, permit, body_pieces(TEXT_BYTES))
        return Reply(200, _show_changed(done, query.path, permit), version=done["tag"])

    return write


@routes.route(
    "GET",
    "/servers/<server_id>/files/content",
    Answer(200, "The bytes.", also=(Media.BYTES,)),
    query=ContentAsked,
    problems=(409, 412),
)
def download(call: Call, server_id: str, query: ContentAsked) -> Callable[[], Reply]:
    """Download a file of any size, or a folder as zip or tar. Not for the world of a running game as a whole: take a
    save, which is of one moment."""
    more = {} if query.archive is None else {"archive": query.archive}
    permit = _reading(call, server_id, "download", query.path, STREAM_SECONDS, **more)

    def fetch() -> Reply:
        found = call.installation.worker.fetch(permit.ticket)
        headers = {**show_name_of_download(query.path, query.archive), **PASSIVE}
        if found.length is not None:
            headers["Content-Length"] = str(found.length)
        return Reply(200, pieces=found.pieces, headers=headers)

    return fetch


@routes.route(
    "PUT",
    "/servers/<server_id>/files/content",
    Answer(200, "The file, there as a whole.", FileChanged),
    query=ChangeAsked,
    problems=(409, 412),
    raw_body=Media.BYTES,
)
def upload(call: Call, server_id: str, query: ChangeAsked) -> Callable[[], Reply]:
    """Upload a file: the body is its content. Its folder has to be there.

    It takes the place of a file of that name; with `If-None-Match: *` only if there is none (412). One that breaks off
    leaves what was there.
    """
    most = call.installation.settings.upload_mib * 2**20
    asked = {
        "verb": "upload",
        "path": query.path,
        "seconds": STREAM_SECONDS,
        "most_bytes": most,
        "bytes": min(request.content_length or 0, most),
        "absent": _only_if_absent(),
    }
    permit = permit_change(call, server_id, asked, f"uploaded {query.path}", unsaved=query.unsaved)

    def send() -> Reply:
        done = carry_out(call, permit, body_pieces(most))
        return Reply(200, _show_changed(done, query.path, permit))

    return send


@routes.route(
    "POST",
    "/servers/<server_id>/files/folders",
    Answer(201, "The folder.", FileChanged),
    body=FolderGiven,
    problems=(412,),
)
def make_folder(call: Call, server_id: str, body: FolderGiven) -> Callable[[], Reply]:
    """Make a folder. The one around it has to be there."""
    asked = {"verb": "mkdir", "path": body.path, "seconds": SHORT_SECONDS}
    permit = permit_change(call, server_id, asked, f"made the folder {body.path}", unsaved=True)
    return lambda: Reply(201, _show_changed(carry_out(call, permit), body.path, permit))


@routes.route(
    "POST",
    "/servers/<server_id>/files/rename",
    Answer(200, "The file, folder or link under its new name.", FileChanged),
    body=RenameGiven,
    problems=(412,),
)
def rename(call: Call, server_id: str, body: RenameGiven) -> Callable[[], Reply]:
    """Rename or move. Nothing is written over but where `replace` says so."""
    asked = {
        "verb": "rename",
        "path": body.path,
        "seconds": SHORT_SECONDS,
        "to": body.to,
        "replace": body.replace,
    }
    permit = permit_change(call, server_id, asked, f"moved {body.path} to {body.to}", unsaved=body.unsaved)
    return lambda: Reply(200, _show_changed(carry_out(call, permit), body.to, permit))


PASSIVE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
"""Files are strangers': no browser may take one for a page of ours."""


def _reading(call: Call, server_id: str, verb: str, path: str, seconds: int, **more: object) -> Permit:
    asked = {"verb": verb, "path": path, "seconds": seconds, **more}
    return service.permit_reading(call.tx, call.actor, server_id, asked, call.now)


def _only_if_absent() -> bool:
    return request.if_none_match.star_tag


def body_pieces(most_bytes: int) -> Iterator[bytes]:
    """The request's body in pieces, as it comes. Flask raises for one that is larger. Raises ClientDisconnected for one
    that breaks off: gunicorn does so only for one in chunks, and ends one whose length was said as if it were whole."""
    request.max_content_length = most_bytes
    stream, count = request.stream, 0
    while data := stream.read(CHUNK):
        count += len(data)
        yield data
    if count < (request.content_length or 0):
        raise ClientDisconnected


def show_entry(item: Mapping[str, Any], path: str) -> FileEntry:
    """An entry that an agent told, as clients see it."""
    return FileEntry(**_fields(item, path))


def _show_changed(item: Mapping[str, Any], path: str, permit: Permit) -> FileChanged:
    return FileChanged(**_fields(item, path), running=permit.is_running)


def _fields(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {
        "name": item["name"],
        "path": path.strip("/"),
        "type": item["type"],
        "size_bytes": item["size"],
        "mode": f"{item['mode']:04o}",
        "modified_at": _moment(item["mtime_ns"]),
        "target": item["target"],
    }


def _moment(mtime_ns: int) -> datetime:
    """The time of a file, however absurd: what no calendar has is its first or last day."""
    try:
        return EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if mtime_ns > 0 else datetime.min.replace(tzinfo=UTC)


def show_name_of_download(path: str, archive: str | None) -> dict[str, str]:
    """Headers that say what a download is to be called."""
    name = (path.rstrip("/").rpartition("/")[2] or "world") + ("" if archive is None else f".{archive}")
    return {
        "Content-Type": Media.BYTES.value,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
    }
