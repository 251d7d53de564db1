"""A program run in a container by ``pods/exec``: Kubernetes' websocket protocol ``v5.channel.k8s.io``, in which the
first byte of every message says what the rest is of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from overworld.domain.errors import EngineUnavailable
from overworld.engines.agent_link import LINE_BYTES
from overworld.engines.kube.client import KubeClient
from overworld.engines.kube.models import Failure

PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255
WORDS_BYTES = 2000


class Exec:
    """A program at work. Reading waits for what it says, so a slow reader slows it; its standard input is open until
    the end of ``execute``. ``words`` is what it last said on standard error, and how it ended."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._buffer = bytearray()
        self.words = ""

    async def write(self, data: bytes) -> None:
        """To its standard input. Raises ConnectionError if it is gone."""
        await self._socket.send_bytes(bytes((STDIN,)) + data)

    async def end_input(self) -> None:
        """Its standard input ends, and so does it."""
        await self._socket.send_bytes(bytes((CLOSE, STDIN)))

    async def readline(self) -> bytes:
        """The next line with its end; what is left, if it ended without one."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > LINE_BYTES:
                raise asyncio.LimitOverrunError("a line is too long", start)
            if not await self._receive():
                end = len(self._buffer) - 1
                break
        return self._take(end + 1)

    async def readexactly(self, n: int, /) -> bytes:
        """So many bytes. Raises IncompleteReadError if it ends before."""
        while len(self._buffer) < n:
            if not await self._receive():
                raise asyncio.IncompleteReadError(bytes(self._buffer), n)
        return self._take(n)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _receive(self) -> bool:
        """One message; False once there will be no more."""
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            return False
        channel, data = message.data[0], message.data[1:]
        if channel == STDOUT:
            self._buffer += data
        elif channel == STDERR:
            self.words = (self.words + data.decode(errors="replace"))[-WORDS_BYTES:]
        elif channel == STATUS and data:
            failure = msgspec.json.decode(data, type=Failure)
            if failure.status != "Success":
                self.words = f"{self.words} {failure.message}".strip()
            return False
        return True


@asynccontextmanager
async def execute(client: KubeClient, pod: str, container: str, command: Sequence[str]) -> AsyncIterator[Exec]:
    """Run it for the length of the block; ``pod`` is a path of the API. At the end of the block its standard input
    ends. Raises EngineUnavailable where it cannot be begun or the connection breaks, EngineRefused without the right
    to it."""
    params = [("command", word) for word in command]
    params += [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    try:
        async with client.connect(f"{pod}/exec", params, PROTOCOL) as socket:
            yield Exec(socket)
    except (aiohttp.ClientError, ConnectionError) as error:
        raise EngineUnavailable(f"The connection to {container} of {pod.rpartition('/')[2]} broke: {error}") from error
