"""Bytes between this machine and a world: whole or not at all, on both sides."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import httpx

from overworld.cli.api import ONCE, Api, Json, as_refusal, as_unreachable, read_document
from overworld.cli.errors import BadUsage, Refused

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
