"""The console of a local server, for web: the keeper's log for what was, its socket for what comes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
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
        for line in read_lines(run, after=seen, limit=FIRST_LINES if seen == 0 else MOST_LINES):
            seen = int(line.id)
            yield line
        yielded_at = time.monotonic()
        while True:
            # Subscribed before the log is read, so that no line falls between; what comes twice has an old id.
            connection = _follow_keeper(run)
            try:
                for line in read_lines(run, after=seen, limit=MOST_LINES):
                    seen = int(line.id)
                    yielded_at = time.monotonic()
                    yield line
                if connection is None:
                    time.sleep(LOOK_SECONDS)
                    if time.monotonic() - yielded_at >= ALIVE_SECONDS:
                        yielded_at = time.monotonic()
                        yield None
                    continue
                for pushed in _pushed_lines(connection):
                    yielded_at = time.monotonic()
                    if pushed is None:
                        yield None
                    elif int(pushed.id) > seen:
                        seen = int(pushed.id)
                        yield pushed
            finally:
                if connection is not None:
                    connection.close()

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


def _follow_keeper(run: Path) -> socket.socket | None:
    try:
        connection = connect(run, timeout_seconds=ALIVE_SECONDS)
    except OSError:
        return None  # busy beyond all patience: the log is read until it answers again
    if connection is not None:
        try:
            connection.sendall(b'{"do":"follow"}\n')
            connection.recv(0)
            return connection
        except OSError:
            connection.close()
    return None


def _pushed_lines(connection: socket.socket) -> Iterator[Line | None]:
    """Lines until the keeper ends or drops us for being slow; None after each while without any."""
    buffer = b""
    while True:
        try:
            data = connection.recv(64 * 1024)
        except TimeoutError:
            yield None
            continue
        except OSError:
            return
        if not data:
            return
        *messages, buffer = (buffer + data).split(b"\n")
        for message in messages:
            if line := json.loads(message).get("line"):
                yield make_line(*line)
