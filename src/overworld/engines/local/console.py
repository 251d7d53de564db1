"""The console of a local server, for web: the keeper's log for what was, its socket for what comes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from overworld.domain.errors import BadInput, Conflict, Unavailable
from overworld.domain.servers import ServerId
from overworld.engines.base import Line
from overworld.engines.local.folders import Folders
from overworld.engines.local.lines import last_id, make_line, read_lines
from overworld.engines.local.link import connect

ANSWER_SECONDS = 5.0
ALIVE_SECONDS = 10.0
LOOK_SECONDS = 1.0
FIRST_LINES = 200
MOST_LINES = 1000
CAUGHT_UP_LINES = 20_000
COMMAND_CHARACTERS = 1000


class LocalConsole:
    """See ``Console``. Plain blocking sockets: under gevent each call gives way to the others while it waits."""

    def __init__(self, folder: Path) -> None:
        self._folders = Folders(folder.absolute())

    def lines(self, server_id: ServerId, *, after: str | None, limit: int) -> list[Line]:
        run = self._folders.run(server_id)
        return read_lines(run, after=_parse_id(run, after), limit=max(1, min(limit, MOST_LINES)))

    def follow(self, server_id: ServerId, *, after: str | None) -> Iterator[Line | None]:
        run = self._folders.run(server_id)
        seen = _parse_id(run, after)
        for line in read_lines(run, after=seen, limit=FIRST_LINES if seen == 0 else CAUGHT_UP_LINES):
            seen = int(line.id)
            yield line
        yielded_at = time.monotonic()
        while True:
            # Subscribed before the log is read, so that no line falls between; what comes twice has an old id.
            following = _follow_keeper(run)
            try:
                for line in read_lines(run, after=seen, limit=CAUGHT_UP_LINES):
                    seen = int(line.id)
                    yielded_at = time.monotonic()
                    yield line
                if following is None:
                    time.sleep(LOOK_SECONDS)
                    if time.monotonic() - yielded_at >= ALIVE_SECONDS:
                        yielded_at = time.monotonic()
                        yield None
                    continue
                for pushed in following.lines():
                    yielded_at = time.monotonic()
                    if pushed is None:
                        yield None
                    elif int(pushed.id) > seen:
                        seen = int(pushed.id)
                        yield pushed
            finally:
                if following is not None:
                    following.close()

    def send(self, server_id: ServerId, command: str) -> None:
        if not command.isprintable() or len(command) > COMMAND_CHARACTERS:
            raise BadInput(
                f"a command is one line of at most {COMMAND_CHARACTERS} characters without control characters"
            )
        refusal = self._send(server_id, command)
        if refusal:
            raise Conflict(f"The command was not sent: {refusal}.")

    def _send(self, server_id: ServerId, command: str) -> str:
        try:
            connection = connect(self._folders.run(server_id), timeout_seconds=ANSWER_SECONDS)
            if connection is None:
                return "the game does not run"
            with connection:
                connection.sendall(json.dumps({"do": "send", "text": command}).encode() + b"\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    data = connection.recv(4096)
                    if not data:
                        return "the game has just ended"
                    answer += data
            return str(json.loads(answer)["sent"])
        except OSError as error:
            raise Unavailable(f"the keeper of server {server_id} did not answer: {error}") from error


def _parse_id(run: Path, after: str | None) -> int:
    """The id to go on after; 0 for none and for one that this server's log cannot have given."""
    if after is None or not (after.isascii() and after.isdigit()) or len(after) > 19:
        return 0
    return int(after) if int(after) <= last_id(run) else 0


class _Following:
    """A subscription to what a keeper's game says from now on."""

    def __init__(self, connection: socket.socket) -> None:
        """Returns once the keeper has confirmed; raises OSError if it does not."""
        self._connection = connection
        self._buffer = b""
        connection.sendall(b'{"do":"follow"}\n')
        while b"\n" not in self._buffer:
            if not (data := connection.recv(4096)):
                raise ConnectionResetError("the keeper has ended")
            self._buffer += data
        _, _, self._buffer = self._buffer.partition(b"\n")

    def lines(self) -> Iterator[Line | None]:
        """Lines until the keeper ends, or drops us for being slow; None after each while without any."""
        while True:
            *messages, self._buffer = self._buffer.split(b"\n")
            for message in messages:
                yield make_line(*json.loads(message)["line"])
            try:
                data = self._connection.recv(64 * 1024)
            except TimeoutError:
                yield None
                continue
            except OSError:
                return
            if not data:
                return
            self._buffer += data

    def close(self) -> None:
        self._connection.close()


def _follow_keeper(run: Path) -> _Following | None:
    """None if no keeper lives, or none that answers: the log is read until one does."""
    with suppress(OSError):
        connection = connect(run, timeout_seconds=ALIVE_SECONDS)
        if connection is not None:
            try:
                return _Following(connection)
            except OSError:
                connection.close()
    return None
