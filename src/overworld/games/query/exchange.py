"""Bytes to and from a game, bounded in time by the caller and in size here. Raises OSError or QueryFailed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from overworld.games.query.failure import QueryFailed

MAX_WAITING_DATAGRAMS = 32
MAX_DATAGRAM_BYTES = 16_384
AGAIN_SECONDS = 1.0


class _Arrivals(asyncio.DatagramProtocol):
    """What arrived and was not read yet."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | OSError] = asyncio.Queue(MAX_WAITING_DATAGRAMS)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Called by asyncio; a flood is dropped."""
        with suppress(asyncio.QueueFull):
            self.queue.put_nowait(data[:MAX_DATAGRAM_BYTES])

    def error_received(self, exc: Exception) -> None:
        """Called by asyncio, for example when the port is closed."""
        with suppress(asyncio.QueueFull):
            self.queue.put_nowait(exc if isinstance(exc, OSError) else OSError(str(exc)))


class Datagrams:
    """A conversation with one UDP address; what others send never arrives."""

    def __init__(self, transport: asyncio.DatagramTransport, arrivals: _Arrivals) -> None:
        self._transport = transport
        self._arrivals = arrivals
        self._sent = b""

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        self._sent = data
        self._transport.sendto(data)

    async def receive(self) -> bytes:
        """The next datagram, waited for as long as the caller's time allows. What was sent last is sent again after
        each second of silence, for datagrams get lost, and that says nothing of a game. Raises OSError for a closed
        port."""
        while True:
            try:
                async with asyncio.timeout(AGAIN_SECONDS):
                    arrived = await self._arrivals.queue.get()
            except TimeoutError:
                self.send(self._sent)
                continue
            if isinstance(arrived, OSError):
                raise arrived
            return arrived


@asynccontextmanager
async def datagrams_with(host: str, port: int) -> AsyncIterator[Datagrams]:
    """A conversation with that address."""
    loop = asyncio.get_running_loop()
    transport, arrivals = await loop.create_datagram_endpoint(_Arrivals, remote_addr=(host, port))
    try:
        yield Datagrams(transport, arrivals)
    finally:
        transport.close()


class Stream:
    """A TCP connection of which at most ``limit_bytes`` are ever read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit_bytes: int) -> None:
        self._reader = reader
        self._writer = writer
        self._left = limit_bytes

    def send(self, data: bytes) -> None:
        """Send; requests are small enough to need no draining."""
        self._writer.write(data)

    async def receive(self, size: int) -> bytes:
        """Exactly that many bytes. Raises QueryFailed past the limit or if the game hangs up first."""
        if not 0 <= size <= self._left:
            raise QueryFailed(f"The game's answer is larger than the {self._left} bytes that are read of it.")
        self._left -= size
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise QueryFailed("The game hung up in the middle of its answer.") from error


@asynccontextmanager
async def stream_to(host: str, port: int, *, limit_bytes: int = 65_536) -> AsyncIterator[Stream]:
    """A connection to that address, aborted in the end: a game that does not read must not hold us up."""
    reader, writer = await asyncio.open_connection(host, port, limit=limit_bytes)
    try:
        yield Stream(reader, writer, limit_bytes)
    finally:
        writer.transport.abort()
