"""Bytes between this machine and a world: whole or not at all, on both sides."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import httpx

from overworld.cli.api import ONCE, Api, Json, as_refusal, as_unreachable, read_document
from overworld.cli.errors import BadUsage, Refused
from overworld.cli.times import show_time
from overworld.cli.ui import Column, print_table

CHUNK = 256 * 1024
TIMEOUT = httpx.Timeout(90.0, connect=5.0)


def fetch(api: Api, path: str, params: Mapping[str, str]) -> Iterator[bytes]:
    """The bytes at ``path`` as they come. Raises ``CliError``, also in the middle if they break off."""
    try:
        with api.client.stream("GET", path, params=dict(params), timeout=TIMEOUT, extensions={"retry": ONCE}) as answer:
            if not answer.is_success:
                answer.read()
                raise as_refusal(answer, api.target)
            yield from answer.iter_bytes(CHUNK)
    except httpx.HTTPError as error:
        raise as_unreachable(error, api.target) from error


def fetch_entry(api: Api, where: str, path: str, entry: Json, local: Path | None, *, force: bool) -> tuple[Path, int]:
    """The file or folder ``entry`` (its name and type) at ``path``, from the content at ``where``, in a file
    here: which one, and its bytes. A folder comes as an archive, by the ending of ``local``. Raises ``CliError``."""
    is_folder = entry["type"] == "folder"
    plain = re.sub(r"[\x00-\x1f/\\]", "_", str(entry["name"])) or "world"
    if plain in {".", ".."}:
        plain = "world"
    target = local or Path()
    if target.is_dir():
        target /= f"{plain}.zip" if is_folder else plain
    params = {"path": path}
    if is_folder:
        if target.suffix not in {".zip", ".tar"}:
            raise BadUsage(f"{target} is no name for an archive", "Let it end with .zip or .tar.")
        params["archive"] = target.suffix[1:]
    return target, save_as(fetch(api, where, params), target, force=force)


def print_entries(found: Sequence[Json]) -> None:
    """What is in a folder, of a world or of a save."""
    print_table(
        [Column("MODE", drop=2), Column("SIZE", right=True), Column("MODIFIED", drop=1), Column("NAME", wrap=True)],
        [[entry["mode"], _size(entry), show_time(entry["modified_at"]), _name(entry)] for entry in found],
        empty="The folder is empty.",
    )


def _size(entry: Json) -> str:
    return str(entry["size_bytes"]) if entry["type"] == "file" else str(entry["type"])


def _name(entry: Json) -> str:
    name = str(entry["name"])
    if entry["type"] == "link":
        return f"{name} -> {entry['target']}"
    return f"{name}/" if entry["type"] == "folder" else name


def send(
    api: Api,
    path: str,
    params: Mapping[str, str],
    content: BinaryIO | bytes,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "PUT",
) -> Json:
    """Give the bytes to ``path``; what it answers. Never retried. Raises ``CliError``."""

    def pieces(file: BinaryIO) -> Iterator[bytes]:
        while data := file.read(CHUNK):
            yield data

    given = dict(headers or {})
    if not isinstance(content, bytes) and content.seekable():
        given["Content-Length"] = str(os.fstat(content.fileno()).st_size)
    try:
        answer = api.client.request(
            method,
            path,
            params=dict(params),
            content=content if isinstance(content, bytes) else pieces(content),
            headers=given,
            timeout=TIMEOUT,
            extensions={"retry": ONCE},
        )
    except httpx.HTTPError as error:
        raise as_unreachable(error, api.target) from error
    if not answer.is_success:
        raise as_refusal(answer, api.target)
    return read_document(answer, api.target)


def save_as(pieces: Iterator[bytes], target: Path, *, force: bool) -> int:
    """The bytes in the file ``target``, there as a whole or not at all; how many. Never over a file without ``force``,
    nor through a link of a stranger's name. Raises ``CliError``."""
    if target.exists() and not force:
        raise BadUsage(f"{target} is there already", "Add --force to replace it, or name another file.")
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    count = 0
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
            for data in pieces:
                file.write(data)
                count += len(data)
        if force:
            beside.replace(target)
        else:
            os.link(beside, target)  # fails where one came to be meanwhile
    except OSError as error:
        raise Refused(f"{target} cannot be written", error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return count
