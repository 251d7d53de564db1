"""A connection to a keeper's socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from overworld.domain.errors import EngineUnavailable
from overworld.engines.local.seen import KeeperState, parse_keeper_state

ANSWER_SECONDS = 5.0


def connect(run: Path, *, timeout_seconds: float | None) -> socket.socket | None:
    """A connection to the keeper of that run folder, None if no keeper lives there.

    Goes by a descriptor of the folder, because a socket's path may have 107 bytes and a data folder more.
    """
    try:
        folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect(f"/proc/self/fd/{folder}/socket")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection


class KeeperLink(asyncio.Protocol):
    """The engine's own connection to one keeper: states as they come, and requests.

    ``on_state`` gets every state but the last: that a keeper has stopped is true only when it is gone, and then
    ``on_lost`` is called, once.
    """

    def __init__(self, on_state: Callable[[KeeperState], None], on_lost: Callable[[KeeperLink], None]) -> None:
        self._on_state = on_state
        self._on_lost = on_lost
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self._first: asyncio.Future[KeeperState] = asyncio.get_running_loop().create_future()
        self._usage: list[asyncio.Future[dict[str, Any]]] = []

    @classmethod
    async def open(
        cls, run: Path, on_state: Callable[[KeeperState], None], on_lost: Callable[[KeeperLink], None]
    ) -> tuple[KeeperLink, KeeperState] | None:
        """Connect and get the present state; None if no keeper lives there."""
        connection = connect(run, timeout_seconds=ANSWER_SECONDS)
        if connection is None:
            return None
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: cls(on_state, on_lost), sock=connection)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return link, await link._first
        except TimeoutError as error:
            link.close()
            raise EngineUnavailable(f"the keeper of {run.parent.name} did not answer") from error
        except ConnectionError:
            return None  # it was about to end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._ask("watch")

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "usage" in message:
                if self._usage and not (waiting := self._usage.pop(0)).done():
                    waiting.set_result(message["usage"])
            elif "status" in message:
                state = parse_keeper_state(message["status"])
                if not self._first.done():
                    self._first.set_result(state)
                else:
                    self._on_state(state)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for waiting in self._usage:
            if not waiting.done():
                waiting.set_exception(EngineUnavailable("the keeper went away"))
        if not self._first.done():
            self._first.set_exception(ConnectionResetError())
        else:
            self._on_lost(self)

    def stop(self) -> None:
        """Ask the game to save and quit. Safe to repeat."""
        self._ask("stop")

    async def usage(self) -> dict[str, Any]:
        """Roster, first process and its start. Raises EngineUnavailable if the keeper does not answer in 5 s."""
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if not self._ask("usage"):
            raise EngineUnavailable("the keeper went away")
        self._usage.append(waiting)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waiting
        except TimeoutError as error:
            raise EngineUnavailable("the keeper did not answer") from error

    def _ask(self, do: str) -> bool:
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(json.dumps({"do": do}).encode() + b"\n")
        return True

    def close(self) -> None:
        """Let go of the keeper without a call of ``on_lost``."""
        self._on_lost = lambda _: None
        if self._transport is not None:
            self._transport.close()
