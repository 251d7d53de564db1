"""A server's console as a stream that survives lost connections: it resumes after the last line that was seen."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
from httpx_sse import EventSource, SSEError, connect_sse

from overworld.cli.api import ONCE, Api, Json, api_path, as_refusal, as_unreachable
from overworld.cli.errors import NotAllowed, Refused, Unreachable

SILENCE_SECONDS = 45.0
"""The API says something at least every 15 s; three times that without a word is a dead connection."""
Cut = Callable[[], None]

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0


def follow_console(
    api: Api,
    server_id: str,
    *,
    after: str | None,
    on_break: Callable[[str], None],
    on_connect: Callable[[Cut], None] = lambda _cut: None,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Json]:
    """Lines ``{id, at, text}`` after the id ``after`` (None: the last 200 first), none twice, without an end.

    A lost connection is reported to ``on_break``, once an outage, and made anew after ``pause`` was called with the
    seconds to wait, unless that returns something true: then the lines end. ``on_connect`` is called whenever a
    connection stands, with a function by which another thread can cut it.
    Raises ``CliError`` if the first connection cannot be made or the API says that the stream may not go on.
    """
    last, has_connected, seconds, told = after, False, FIRST_PAUSE_SECONDS, ""
    while True:
        try:
            for line in _read_once(api, server_id, last):
                has_connected = True
                if callable(line):
                    told = ""
                    on_connect(line)
                else:
                    seconds = FIRST_PAUSE_SECONDS
                    last = line["id"]
                    yield line
            says = "The stream ended; connecting again."
        except Unreachable as error:
            if not has_connected:
                raise
            says = f"{error.title}; trying again."
        if says != told:  # an outage is told once, not at each attempt
            on_break(says)
            told = says
        if pause(seconds):
            return
        seconds = min(seconds * 2, LONGEST_PAUSE_SECONDS)


def _read_once(api: Api, server_id: str, after: str | None) -> Iterator[Json | Cut]:
    """The function that cuts it as soon as the connection stands, then its lines."""
    headers = {} if after is None else {"Last-Event-ID": after}
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=5.0)
    path = api_path("servers", server_id, "console")
    try:
        with connect_sse(
            api.client, "GET", path, headers=headers, timeout=timeout, extensions={"retry": ONCE}
        ) as source:
            if not source.response.is_success:
                source.response.read()
                raise as_refusal(source.response, api.target)
            yield _make_cut(source.response)
            yield from _read_events(source)
    except (SSEError, ValueError, LookupError, TypeError) as error:  # SSEError first: httpx-sse makes it an HTTPError
        raise Refused("What was sent is not the console of a server", f"{type(error).__name__}: {error}") from error
    except httpx.HTTPError as error:
        raise as_unreachable(error, api.target) from error


def _make_cut(response: httpx.Response) -> Cut:
    connection: socket.socket = response.extensions["network_stream"].get_extra_info("socket")

    def cut() -> None:
        with suppress(OSError):  # it has ended by itself
            connection.shutdown(socket.SHUT_RDWR)

    return cut


def _read_events(source: EventSource) -> Iterator[Json]:
    for event in source.iter_sse():
        # httpx-sse makes an empty event of every comment that follows an id; the standard says to make none.
        if not event.data:
            continue
        document = json.loads(event.data)
        if event.event == "end":
            raise NotAllowed("The stream was ended", str(document.get("reason", "")))
        if event.event == "message":
            yield {"id": str(document["id"]), "at": document["at"], "text": str(document["text"])}
