"""Web's way to the worker: a ticket goes there, the answer comes back, bytes pass through in small pieces."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import structlog

from overworld.domain import errors
from overworld.domain.errors import OverworldError, Unavailable
from overworld.domain.tickets import Ticket, seal_ticket

CHUNK = 256 * 1024
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 70.0
"""A time in which nothing comes: longer than the agent's own bound for what is answered as a whole."""

_SILENT = "The worker, which has the files of worlds, does not answer. Try again soon."

log = structlog.get_logger(__name__)


class Pieces:
    """The bytes of an answer as they come. Raises Unavailable if they end before their end."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.iter_raw(CHUNK)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except httpx.HTTPError as error:
            raise Unavailable("The file broke off on its way.") from error

    def close(self) -> None:
        """End it, also if it was never begun: the worker then ends its work. Safe to call twice."""
        self._response.close()


@dataclass(frozen=True, slots=True)
class Bytes:
    """A file or archive on its way. ``length`` in bytes, None if it is not known before. Close ``pieces``."""

    item: Mapping[str, Any]
    length: int | None
    pieces: Pieces


class WorkerLink:
    """The worker at a socket of this machine, or at a URL. Reads its key and connects when it is first asked: where
    there is no worker, nothing of one is needed."""

    def __init__(self, where: Path | str, read_key: Callable[[], bytes]) -> None:
        self._where = where
        self._read_key = read_key

    @cached_property
    def _key(self) -> bytes:
        return self._read_key()

    @cached_property
    def _client(self) -> httpx.Client:
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        if isinstance(self._where, str):
            return httpx.Client(base_url=self._where, timeout=timeout, limits=limits, trust_env=False)
        # By a descriptor: a socket's path may have 107 bytes, a data folder's more.
        folder = os.open(self._where.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{folder}/{self._where.name}", limits=limits)
        return httpx.Client(base_url="http://worker", timeout=timeout, transport=transport)

    def ask(self, ticket: Ticket, body: Iterable[bytes] | None = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Items and end of an answer. Raises what the worker refused with, Unavailable if it does not answer, and
        whatever ``body`` raises: then nothing was changed."""
        response = self._send(ticket, body)
        try:
            content = response.json()
        finally:
            response.close()
        return content["items"], content["done"]

    def fetch(self, ticket: Ticket) -> Bytes:
        """What a ``read`` or ``download`` sends, as it comes."""
        response = self._send(ticket, None, stream=True)
        length = response.headers.get("Content-Length")
        return Bytes(
            item=json.loads(response.headers["Overworld-Item"]),
            length=None if length is None else int(length),
            pieces=Pieces(response),
        )

    def _send(self, ticket: Ticket, body: Iterable[bytes] | None, *, stream: bool = False) -> httpx.Response:
        if isinstance(self._where, Path) and not self._where.exists():
            raise Unavailable(_SILENT)
        headers = {"Authorization": f"Ticket {seal_ticket(ticket, self._key)}", "Accept-Encoding": "identity"}
        try:
            request = self._client.build_request("POST", "/files", headers=headers, content=body)
            response = self._client.send(request, stream=stream)
            if response.is_success:
                return response
            response.read()
        except (httpx.HTTPError, OSError) as error:
            log.warning("the worker does not answer", error=f"{type(error).__name__}: {error}")
            raise Unavailable(_SILENT) from error
        raise _refusal(response)


def _refusal(response: httpx.Response) -> OverworldError:
    """The error that the worker refused with, as if it had been raised here."""
    try:
        content = response.json()
        slug, detail, extra = str(content["slug"]), str(content["detail"]), dict(content["extra"])
    except (ValueError, LookupError, TypeError):
        return Unavailable("The worker, which has the files of worlds, gave no sense.")
    if response.status_code == errors.NotAuthenticated.status:  # the ticket, not the caller
        log.error("the worker does not take our tickets: do both have the same OVERWORLD_WORKER_SECRET and clock?")
        return Unavailable("The worker, which has the files of worlds, does not know this web process.")
    if slug == errors.SaveStoreRefused.slug:
        return errors.SaveStoreRefused(str(extra.get("reason", "")), detail)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OverworldError)]
    kind = next((kind for kind in kinds if kind.slug == slug and kind.__init__ is OverworldError.__init__), Unavailable)
    return kind(detail, **extra)
