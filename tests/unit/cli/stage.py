"""A small HTTP server on the loopback interface that answers as a test lays down, faults included.

It stands in for the API where a test needs what the real one cannot be made to do: lost answers, broken streams,
hostile words. What the two sides agree on is tested against the real application (tests/integration/cli).
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ow_stage_s3cret"

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """What goes out. ``lose`` closes the connection without a word; ``raw`` is sent as it is, then the end."""

    document: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    lose: bool = False
    raw: bytes | None = None
    hold: threading.Event | None = None


class Stage:
    """The server. Replies laid down for a route come one after another, the last one for ever."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._replies: dict[tuple[str, str], deque[Reply | Callable[[Request], Reply]]] = defaultdict(deque)
        stage = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def _answer(self) -> None:
                stage._answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def lay(self, method: str, path: str, *replies: Reply | Callable[[Request], Reply]) -> None:
        """Lay down replies for a route (a path below /api/v1, or a whole one that begins with two slashes)."""
        self._replies[method, path[1:] if path.startswith("//") else "/api/v1" + path].extend(replies)

    def seen(self, method: str, path: str) -> list[Request]:
        """The requests of a route so far."""
        return [each for each in self.requests if (each.method, each.path) == (method, "/api/v1" + path)]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length) if length else b""
        request = Request(
            handler.command,
            parts.path,
            parse_qs(parts.query),
            {key.lower(): value for key, value in handler.headers.items()},
            json.loads(body) if body and handler.headers.get("Content-Type") == "application/json" else body or None,
        )
        self.requests.append(request)
        replies = self._replies.get((request.method, request.path))
        if not replies:
            reply: Reply | Callable[[Request], Reply] = problem(
                404, "not-found", "Not found", "The stage has no such route."
            )
        else:
            reply = replies[0] if len(replies) == 1 else replies.popleft()
        self._send(handler, reply if isinstance(reply, Reply) else reply(request))

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.lose:
            handler.close_connection = True
            return
        content = reply.raw if reply.raw is not None else json.dumps(reply.document).encode()
        handler.send_response_only(reply.status)
        handler.send_header("Date", reply.headers.get("Date", handler.date_time_string()))
        for name, value in reply.headers.items():
            if name == "Date":
                continue
            handler.send_header(name, value)
        if "Content-Type" not in reply.headers:
            handler.send_header(
                "Content-Type", "application/json" if reply.status < 400 else "application/problem+json"
            )
        if reply.raw is None:
            handler.send_header("Content-Length", str(len(content)))
        else:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        handler.wfile.write(content)
        handler.wfile.flush()
        if reply.hold is not None:
            reply.hold.wait(30)


@contextmanager
def open_stage() -> Iterator[Stage]:
    """A stage that listens until the block ends."""
    stage = Stage()
    thread = threading.Thread(target=stage.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stage
    finally:
        stage.server.shutdown()
        thread.join()
        stage.server.server_close()


def problem(status: int, slug: str, title: str, detail: str = "", **extra: object) -> Reply:
    """A problem document."""
    document = {"type": f"/docs/problems/{slug}", "title": title, "status": status, "detail": detail, **extra}
    return Reply({"request_id": "req-1", "instance": "/", **document}, status)


def page(*items: Json, token: str | None = None) -> Reply:
    """A page of a list."""
    return Reply({"items": list(items), "next_page_token": token})


def events(*lines: Json, hold: threading.Event | None = None) -> Reply:
    """A stream of console lines, which ends (or, while ``hold`` is not set, stays silent) after the last one."""
    text = ": open\n\n" + "".join(f"id: {line['id']}\ndata: {json.dumps(line)}\n\n: keep-alive\n\n" for line in lines)
    return Reply(raw=text.encode(), headers={"Content-Type": "text/event-stream"}, hold=hold)


def line(number: int, text: str) -> Json:
    """A console line."""
    return {"id": f"l{number}", "at": "2026-01-02T03:04:05Z", "text": text}


def server(**changes: object) -> Json:
    """A server that runs."""
    return {
        "id": "bcdfghjkmnpq",
        "name": "meadow",
        "game": "luanti",
        "owner": {"id": "accountaaaaa", "name": "ann"},
        "state": "running",
        "desired": "running",
        "generation": 1,
        "observed_generation": 1,
        "memory_mib": 512,
        "storage": None,
        "disk_mib": None,
        "network": None,
        "variables": {"motd": "hello"},
        "endpoints": [{"name": "game", "protocol": "udp", "host": "192.0.2.7", "port": 30000}],
        "connect": "In Luanti: Join Game, address 192.0.2.7, port 30000",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Answering",
                "message": "Players can join.",
                "since": "2026-01-02T03:04:05Z",
                "observed_generation": 1,
            }
        ],
        "activity": {
            "presence": "active",
            "players": 2,
            "max_players": 15,
            "names": ["sam", "max"],
            "cpu_percent": 3.25,
            "memory_mib": 120.0,
            "disk_mib": 8.5,
            "seen_at": "2026-01-02T03:04:05Z",
            "last_active_at": "2026-01-02T03:04:05Z",
        },
        "created_at": "2026-01-02T03:00:00Z",
        "updated_at": "2026-01-02T03:00:00Z",
        "deleted_at": None,
        "purge_at": None,
        **changes,
    }


def operation(kind: str = "create", outcome: str = "running", **changes: object) -> Json:
    """An operation on that server."""
    return {
        "id": "opbcdfghjkmn",
        "server_id": "bcdfghjkmnpq",
        "kind": kind,
        "outcome": outcome,
        "reason": "",
        "message": "" if outcome == "running" else f"It {outcome}.",
        "progress": {"done": 2, "of": 4, "message": "Copying the world."},
        "created_at": "2026-01-02T03:00:00Z",
        "ended_at": None,
        **changes,
    }


GAME: Json = {
    "slug": "luanti",
    "title": "Luanti",
    "description": "Blocks.",
    "ports": [{"name": "game", "protocol": "udp"}],
    "variables": [
        {"name": "motd", "kind": "string", "description": "Words.", "default": "", "minimum": None, "maximum": None,
         "max_length": 100, "pattern": None, "choices": []},
        {"name": "players", "kind": "integer", "description": "Most players.", "default": 15, "minimum": 1,
         "maximum": 100, "max_length": 200, "pattern": None, "choices": []},
        {"name": "pvp", "kind": "boolean", "description": "Fights.", "default": True, "minimum": None, "maximum": None,
         "max_length": 200, "pattern": None, "choices": []},
        {"name": "mapgen", "kind": "choice", "description": "Land.", "default": "v7", "minimum": None, "maximum": None,
         "max_length": 200, "pattern": None, "choices": ["v7", "flat"]},
    ],
    "memory": {"minimum_mib": 128, "default_mib": 512},
    "accepts_commands": True,
}  # fmt: skip
