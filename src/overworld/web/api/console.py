"""A server's output and input."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import structlog
from flask import request
from pydantic import Field

from overworld.domain.errors import BadInput, NotAuthenticated, NotFound, OverworldError, Unavailable
from overworld.engines.base import Line
from overworld.services import tokens
from overworld.store import servers as server_rows
from overworld.web.dispatch import wants
from overworld.web.routes import Answer, Call, Installation, Media, Reply, Routes
from overworld.web.wire import PLAIN_TEXT, Asked, Given, ReadInteger, Shown

routes = Routes("console", "What a game prints, and commands to it.")

log = structlog.get_logger(__name__)

CHECK_ACCESS_EVERY = timedelta(minutes=1)
LINE_ID = r"^[\x21-\x7e]{1,200}$"


class ConsoleLine(Shown):
    """One line of output."""

    id: str = Field(description="Give it as `after` to go on from here.")
    at: datetime
    text: str


class ConsoleLines(Shown):
    """Lines of output, oldest first."""

    lines: list[ConsoleLine]


class LinesAsked(Asked):
    """Which lines."""

    after: str | None = Field(default=None, pattern=LINE_ID, description="Only lines after the one with this id.")
    limit: Annotated[int, Field(ge=1, le=1000), ReadInteger] = Field(
        default=200, description="Most lines; the newest are given."
    )


class CommandGiven(Given):
    """A line for the game's console."""

    command: Annotated[str, Field(min_length=1, max_length=1000, pattern=PLAIN_TEXT)]


@routes.route(
    "GET",
    "/servers/<server_id>/console",
    Answer(200, "Lines; or, for `Accept: text/event-stream`, a stream of them.", ConsoleLines, also=(Media.EVENTS,)),
    query=LinesAsked,
)
def follow(call: Call, server_id: str, query: LinesAsked) -> Callable[[], Reply]:
    """Read the console.

    As server-sent events: the last 200 lines at once (or those after `Last-Event-ID`, or `after`), then each new one
    as it comes, across restarts. The id of an event is the id of its line. A comment comes at least every 15 s. The
    event `end` says why the stream ends, if it is not the client that ends it.
    """
    _check_access(call, server_id)
    installation, credentials = call.installation, call.credentials
    if request.method == "GET" and wants(Media.EVENTS):
        after = _last_event_id() or query.after
        return lambda: Reply(200, stream=_stream(installation, credentials, server_id, after))
    return lambda: Reply(200, _read_lines(installation, server_id, query))


@routes.route(
    "POST",
    "/servers/<server_id>/console",
    Answer(204, "Handed to the game. What comes of it shows in the console."),
    body=CommandGiven,
)
def send(call: Call, server_id: str, body: CommandGiven) -> Reply:
    """Send a command to the game."""
    _check_access(call, server_id)
    try:
        call.installation.console.send(server_id, body.command)
    except BadInput as error:
        raise BadInput(error.detail, errors=[{"at": "/command", "says": error.detail}]) from error
    return Reply(204)


@routes.route(
    "GET",
    "/servers/<server_id>/logs",
    Answer(200, "Lines; or, for `Accept: text/plain`, plain text.", ConsoleLines, also=(Media.TEXT,)),
    query=LinesAsked,
)
def logs(call: Call, server_id: str, query: LinesAsked) -> Callable[[], Reply]:
    """Read what the game printed; also that of a stopped one."""
    _check_access(call, server_id)
    installation = call.installation
    is_text = wants(Media.TEXT)

    def read() -> Reply:
        lines = _read_lines(installation, server_id, query)
        if not is_text:
            return Reply(200, lines)
        return Reply(200, text="".join(f"{line.at.isoformat()} {line.text}\n" for line in lines.lines))

    return read


def _check_access(call: Call, server_id: str) -> None:
    if server_rows.load_server(call.tx, server_id, call.actor.scope) is None:
        raise NotFound("There is no such server.")


def _read_lines(installation: Installation, server_id: str, query: LinesAsked) -> ConsoleLines:
    lines = installation.console.lines(server_id, after=query.after, limit=query.limit)
    return ConsoleLines(lines=[_show(line) for line in lines])


def _show(line: Line) -> ConsoleLine:
    return ConsoleLine(id=line.id, at=line.at, text=line.text)


def _last_event_id() -> str | None:
    """Where the client's last stream broke off. It wins over ``after``, which a reconnecting browser repeats from the
    first request."""
    given = request.headers.get("Last-Event-ID")
    if given is not None and (not given.isascii() or not given.isprintable() or not 1 <= len(given) <= 200):
        raise BadInput("Last-Event-ID is not the id of a line.")
    return given


def _stream(installation: Installation, credentials: str, server_id: str, after: str | None) -> Iterator[str]:
    """Server-sent events. Holds no database connection but for the moment, once a minute, in which it asks whether
    the token still opens this server."""
    check_at = datetime.now(UTC) + CHECK_ACCESS_EVERY
    lines = installation.console.follow(server_id, after=after)
    try:
        yield ": the console of a server\n\n"
        for line in lines:
            yield ": keep-alive\n\n" if line is None else f"id: {line.id}\ndata: {_show(line).model_dump_json()}\n\n"
            now = datetime.now(UTC)
            if now >= check_at:
                check_at = now + CHECK_ACCESS_EVERY
                if not _still_has_access(installation, credentials, server_id, now):
                    yield _end("Access to this server has ended.")
                    return
    except OverworldError as error:
        log.warning("a stream ended early", server_id=server_id, detail=error.detail)
        yield _end(error.detail)
    finally:
        close = getattr(lines, "close", None)
        if close is not None:
            close()


def _end(reason: str) -> str:
    return f"event: end\ndata: {json.dumps({'reason': reason})}\n\n"


def _still_has_access(installation: Installation, credentials: str, server_id: str, now: datetime) -> bool:
    try:
        with installation.database.transaction() as tx:
            actor, _ = tokens.authenticate(tx, credentials, now)
            return server_rows.load_server(tx, server_id, actor.scope) is not None
    except NotAuthenticated:
        return False
    except Unavailable:
        log.warning("cannot check the access of a stream; it goes on until the next check", server_id=server_id)
        return True
