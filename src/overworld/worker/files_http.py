"""The worker's internal HTTP: what web is asked about the files of a world is done here, by an agent beside the world.

    POST /files     Authorization: Ticket <ticket>      (domain/tickets.py: it says all that may be done)

The body is what an upload brings. The answer to ``read`` and ``download`` is 200 with the entry as JSON in
``Overworld-Item`` and the bytes as body; to everything else 200 and ``{"items": […], "done": {…}}``. A refusal has the
status of its error and ``{"slug", "detail", "extra"}``. An answer that ends before its end is a connection that breaks.
One request a connection; a peer that takes or sends nothing for SILENCE_SECONDS is let go.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from weakref import WeakSet

import h11
import structlog

from overworld.domain.errors import OverworldError
from overworld.domain.tickets import Ticket, open_ticket
from overworld.engines.base import Done, WorldAccess, WorldAnswer
from overworld.worker.slots import Slots

CHUNK = 256 * 1024
HEAD_BYTES = 64 * 1024
"""A ticket holds a path of 4,096 bytes, each of which may be written in twelve."""
HEAD_SECONDS = 10.0
SILENCE_SECONDS = 30.0
CONNECTIONS = 256
IN_ALL, PER_ACCOUNT = 48, 4
STREAMS = frozenset({"read", "download"})
LIKE = "like"
"""The key of a request to a generation that is made for it, if it is not there yet, like the one that it names."""

ROUNDS_TO_ACCEPT = 4
"""Of the loop, from a connection that asyncio has accepted to our task for it."""

log = structlog.get_logger(__name__)


class FilesServer:
    """Answers on one listening socket with one key. ``serve`` may be entered once."""

    def __init__(self, worlds: WorldAccess, key: bytes) -> None:
        self._worlds = worlds
        self._key = key
        self._slots = Slots(in_all=IN_ALL, per_account=PER_ACCOUNT)
        self._open: set[asyncio.Task[None]] = set()
        self._transports: WeakSet[asyncio.WriteTransport] = WeakSet()

    @asynccontextmanager
    async def serve(self, listener: socket.socket) -> AsyncIterator[None]:
        """Answer for as long as the block lasts; what is under way at its end is broken off, and leaves no trace in a
        world. ``listener`` is closed with it."""
        server = await asyncio.start_server(self._accept, sock=listener, limit=CHUNK)
        try:
            yield
        finally:
            # A server that is closed lets go, unclosed, of a connection that asyncio accepted and has no transport for.
            asyncio.get_running_loop().remove_reader(listener)
            for _ in range(ROUNDS_TO_ACCEPT):
                await asyncio.sleep(0)
            server.close()
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            for transport in self._transports:  # one that is closed stays until its peer has read the last of it
                transport.abort()
            await asyncio.sleep(0)  # they are let go in the loop's next round
            with suppress(OSError):
                await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(task)
        self._transports.add(writer.transport)
        peer = Peer(reader, writer)
        try:
            await self._answer(peer)
        except (ConnectionError, TimeoutError, h11.RemoteProtocolError):
            writer.transport.abort()  # it went away, or hangs
        except asyncio.CancelledError:
            writer.transport.abort()  # not raised again: nobody waits for this task, and asyncio would log it
        except Exception:
            log.exception("the files of a world could not be answered for")
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, peer: Peer) -> None:
        try:
            ticket = open_ticket(await peer.read_ticket(), self._key, datetime.now(UTC))
            with self._slots.hold(ticket.account_id):
                await self._work(peer, ticket)
        except OverworldError as error:
            if peer.has_answered:
                log.info("an answer was broken off", detail=error.detail)
                raise ConnectionAbortedError from error
            content = {"slug": error.slug, "detail": error.detail, "extra": error.extra}
            await peer.answer(error.status, content)

    async def _work(self, peer: Peer, ticket: Ticket) -> None:
        log.debug("files", verb=ticket.request.get("verb"), server_id=ticket.server_id, account_id=ticket.account_id)
        if LIKE in ticket.request:
            await self._worlds.make_world(ticket.server_id, ticket.generation, like=ticket.request[LIKE])
        answer = self._worlds.run(ticket.server_id, ticket.generation, ticket.request, peer.body())
        async with aclosing(answer):
            if ticket.request.get("verb") in STREAMS:
                await _stream(peer, answer)
                return
            items: list[Mapping[str, Any]] = []
            async for part in answer:
                if isinstance(part, Done):
                    await peer.answer(200, {"items": items, "done": part.content})
                elif isinstance(part, dict):
                    items.append(part)


async def _stream(peer: Peer, answer: WorldAnswer) -> None:
    async for part in answer:
        if isinstance(part, bytes):
            await peer.send(part)
        elif isinstance(part, Done):
            await peer.end()
        else:
            length = part.get("length", part.get("size"))
            sizes = [("Transfer-Encoding", "chunked")] if length is None else [("Content-Length", str(length))]
            await peer.begin(200, [("Overworld-Item", json.dumps(part)), *sizes])


class Peer:
    """One connection: web, or whoever else came. Raises ConnectionError, TimeoutError and h11's RemoteProtocolError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self.has_answered = False

    async def read_ticket(self) -> str:
        """What the request shows as its ticket; empty for another request. Everything of it comes within
        HEAD_SECONDS."""
        async with asyncio.timeout(HEAD_SECONDS):
            event = await self._next()
        if not isinstance(event, h11.Request):
            raise ConnectionAbortedError
        scheme, _, ticket = dict(event.headers).get(b"authorization", b"").decode("ascii", "replace").partition(" ")
        is_ours = (event.method, event.target, scheme) == (b"POST", b"/files", "Ticket")
        return ticket if is_ours else ""

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body. Raises ConnectionError if it ends before its end."""
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise ConnectionAbortedError

    async def _next(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._reader.read(CHUNK))

    async def answer(self, status: int, content: object) -> None:
        """A whole answer."""
        data = json.dumps(content).encode()
        await self.begin(status, [("Content-Length", str(len(data)))])
        await self.send(data)
        await self.end()

    async def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        """The head of an answer."""
        self.has_answered = True
        await self._write(h11.Response(status_code=status, headers=[*headers, ("Connection", "close")]))

    async def send(self, data: bytes) -> None:
        """A piece of its body; returns when the peer has taken most of what was sent."""
        await self._write(h11.Data(data=data))

    async def end(self) -> None:
        """Its end, without which the peer knows that it is not whole."""
        await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        async with asyncio.timeout(SILENCE_SECONDS):
            await self._writer.drain()
