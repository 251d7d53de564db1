"""The console of a server in a cluster, for web: its pod's log for output, attaching to its container for commands.

Least rights: ``pods/log`` (get) and ``pods/attach`` (create), in the games' namespace. It looks for nothing by itself:
where a server is, it is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx2
import msgspec
from httpx2.websockets import HTTPXWSException, WebSocketDisconnect, WebSocketSession, WebSocketUpgradeError
from lightkube import KubeConfig
from lightkube.config.client_adapter import Client, ConnectionParams

from overworld.domain.errors import BadInput, Conflict, EngineRefused, Unavailable
from overworld.domain.exits import Exit
from overworld.domain.servers import Place, ServerId
from overworld.engines.base import Line
from overworld.engines.kube.lines import Ids, merge_lines, parse_id, parse_line, since_parameter
from overworld.engines.kube.models import Failure
from overworld.engines.kube.names import CONTAINER
from overworld.engines.kube.paths import Paths

TIMEOUT_SECONDS = 10.0
ALIVE_SECONDS = 10.0
LOOK_SECONDS = 1.0
FIRST_LINES = 200
MOST_LINES = 1000
COMMAND_CHARACTERS = 1000
PROTOCOL = "v5.channel.k8s.io"
STDIN, ERROR, CLOSE = 0, 3, 255


class KubeConsole:
    """See ``Console``. Plain blocking requests: under gevent each call gives way to the others while it waits."""

    def __init__(self, config: KubeConfig, namespace: str, place_of: Callable[[ServerId], Place]) -> None:
        chosen = config.get()
        if chosen is None:
            raise EngineRefused("NoCluster", "The kubeconfig names no current context: set current-context in it.")
        self._http = Client(chosen, ConnectionParams(timeout=httpx2.Timeout(TIMEOUT_SECONDS), trust_env=False))
        self._pods = Paths(namespace).pods
        self._place_of = place_of

    def close(self) -> None:
        """Close every connection. Safe to call twice."""
        self._http.close()

    def lines(self, server_id: ServerId, *, after: str | None, limit: int) -> list[Line]:
        place = self._place_of(server_id)
        seen = parse_id(after)
        found = self._read(place, seen)
        if seen and not found:
            # Nothing after it: because there is nothing new, or because there never was a line of that id.
            everything = self._read(place, 0)
            if everything and int(everything[-1].id) < seen:
                found = everything
        return found[-max(1, min(limit, MOST_LINES)) :]

    def follow(self, server_id: ServerId, *, after: str | None) -> Iterator[Line | None]:
        seen = parse_id(after)
        first = self.lines(server_id, after=after, limit=FIRST_LINES if seen == 0 else MOST_LINES)
        if first and int(first[0].id) <= seen:
            seen = 0
        yielded_at = time.monotonic()
        for line in first:
            seen = max(seen, int(line.id))
            yield line
        while True:
            place = self._place_of(server_id)
            if place.pod is not None:
                for line in self._stream(place.pod, seen):
                    seen = int(line.id)
                    yielded_at = time.monotonic()
                    yield line
            if time.monotonic() - yielded_at >= ALIVE_SECONDS:
                yielded_at = time.monotonic()
                yield None
            time.sleep(LOOK_SECONDS)

    def send(self, server_id: ServerId, command: str) -> None:
        if not command.isprintable() or len(command) > COMMAND_CHARACTERS:
            raise BadInput(
                f"a command is one line of at most {COMMAND_CHARACTERS} characters without control characters"
            )
        place = self._place_of(server_id)
        if place.pod is None or not place.runs:
            raise Conflict("The command was not sent: the game does not run.")
        if not place.takes_commands:
            raise Conflict("The command was not sent: this game takes no commands.")
        self._attach(place.pod, command.encode() + b"\n")

    # --- output

    def _read(self, place: Place, seen: int) -> list[Line]:
        """Everything after ``seen`` that there still is, oldest first: of the pod's container and of the one before
        it, or a stopped server's last words."""
        if place.pod is None:
            return _last_words(place.last_exit, seen)
        params = {"tailLines": str(MOST_LINES), **since_parameter(seen)}
        now = self._fetch(place.pod, params)
        before = self._fetch(place.pod, {**params, "previous": "true"}) if len(now) < MOST_LINES else []
        return [line for line in merge_lines(before, now) if int(line.id) > seen]

    def _fetch(self, pod: str, params: dict[str, str]) -> list[Line]:
        try:
            response = self._http.get(f"{self._pods}/{pod}/log", params=_log_parameters(params))
        except httpx2.HTTPError as error:
            raise _no_answer(error) from error
        if response.status_code in {400, 404}:  # no such container yet, or none before this one
            return []
        if response.status_code >= 400:
            raise Unavailable(f"The cluster does not give the console: {response.text[:300]}")
        ids = Ids()
        return [line for raw in response.text.splitlines() if (line := parse_line(raw, ids)) is not None]

    def _stream(self, pod: str, seen: int) -> Iterator[Line]:
        """What comes after ``seen``, until nothing comes for a while, the container ends, or the API goes away."""
        params = {"follow": "true", **since_parameter(seen)}
        if seen == 0:
            params["tailLines"] = "0"
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, read=ALIVE_SECONDS)
        path = f"{self._pods}/{pod}/log"
        ids = Ids()
        try:
            with self._http.stream("GET", path, params=_log_parameters(params), timeout=timeout) as response:
                if response.status_code >= 400:
                    return
                for raw in response.iter_lines():
                    line = parse_line(raw, ids)
                    if line is not None and int(line.id) > seen:
                        yield line
        except (httpx2.HTTPError, httpx2.StreamError):
            return  # the caller looks again, from where it was

    # --- input

    def _attach(self, pod: str, data: bytes) -> None:
        params = {"container": CONTAINER, "stdin": "true", "stdout": "false", "stderr": "false", "tty": "false"}
        try:
            with self._http.websocket(f"{self._pods}/{pod}/attach", params=params, subprotocols=[PROTOCOL]) as socket:
                socket.send_bytes(bytes((STDIN,)) + data)
                socket.send_bytes(bytes((CLOSE, STDIN)))
                # What was sent may be lost if the connection ends before the other end has read it all.
                _await_end(socket)
        except WebSocketUpgradeError as error:
            if error.response.status_code in {401, 403}:
                raise Unavailable(
                    "The cluster does not let the console attach: web's service account lacks a right."
                ) from error
            raise Conflict("The command was not sent: the game has just ended.") from error
        except (httpx2.HTTPError, HTTPXWSException, TimeoutError) as error:
            raise _no_answer(error) from error


def _await_end(socket: WebSocketSession) -> None:
    """Until the other end says how it went. Raises Conflict if it failed."""
    try:
        while True:
            message = socket.receive_bytes(timeout=TIMEOUT_SECONDS)
            if message[:1] == bytes((ERROR,)) and len(message) > 1:  # each channel opens with an empty message
                failure = msgspec.json.decode(message[1:], type=Failure)
                if failure.status == "Failure":
                    raise Conflict(f"The command was not sent: {failure.message}")
                return
    except WebSocketDisconnect:
        return


def _log_parameters(params: dict[str, str]) -> dict[str, str]:
    return {"container": CONTAINER, "timestamps": "true", **params}


def _last_words(end: Exit | None, seen: int) -> list[Line]:
    if end is None:
        return []
    first = int(end.at.timestamp() * 1_000_000_000)
    lines = [Line(str(first + number), end.at, text) for number, text in enumerate(end.lines)]
    return [line for line in lines if int(line.id) > seen]


def _no_answer(error: Exception) -> Unavailable:
    return Unavailable(f"The Kubernetes API does not answer: {error or type(error).__name__}")
