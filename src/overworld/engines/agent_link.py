"""The other side of the world agent's wire (engines/agent.py), for every engine: frames, and errors as ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Protocol

from overworld.domain.errors import (
    BadInput,
    CapacityExhausted,
    Conflict,
    EngineUnavailable,
    NotFound,
    OverworldError,
    PreconditionFailed,
    Unavailable,
)
from overworld.engines import agent
from overworld.engines.base import Done, WorldAnswer

LATE_SECONDS = 5.0
"""An agent ends itself when its time is over; whoever waits for one that cannot, waits this much longer."""
LINE_BYTES = 256 * 1024
"""Most of one line of an answer; a longer one is no agent's."""

_ERRORS: Mapping[str, type[OverworldError]] = {
    "not-found": NotFound,
    "changed": PreconditionFailed,
    "bad-path": BadInput,
    "bad-request": BadInput,
    "bad-archive": BadInput,
    "too-large": BadInput,
    "not-text": Conflict,
    "exists": Conflict,
    "is-folder": Conflict,
    "is-link": Conflict,
    "not-file": Conflict,
    "not-folder": Conflict,
    "not-empty": Conflict,
    "closed": Conflict,
    "busy": Conflict,
    "too-many": Conflict,
    "too-deep": Conflict,
    "too-slow": Unavailable,
    "cut-off": Unavailable,
    "disk-full": CapacityExhausted,
}


class Source(Protocol):
    """What an agent says: an ``asyncio.StreamReader`` or something like it."""

    async def readline(self) -> bytes: ...

    async def readexactly(self, n: int, /) -> bytes: ...


class Program(Source, Protocol):
    """A program at work, with its standard input. Writing waits for it, and raises if it is gone."""

    async def write(self, data: bytes, /) -> None: ...

    async def end_input(self) -> None: ...


def render_request(request: Mapping[str, Any]) -> bytes:
    """The line that an agent reads first."""
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


async def render_body(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body as an agent reads it, its end included. If ``body`` fails the end is not there, and the agent drops
    what it has."""
    async for data in body:
        for start in range(0, len(data), agent.CHUNK):
            piece = data[start : start + agent.CHUNK]
            yield b"+%d\n%b" % (len(piece), piece)
    yield b"+0\n"


async def talk(program: Program, request: Mapping[str, Any], body: AsyncIterator[bytes] | None = None) -> WorldAnswer:
    """The answer of an agent that was begun, to that request. Raises what ``read_answer`` does, and EngineUnavailable
    for an agent that is late."""
    late_at = asyncio.get_running_loop().time() + float(request.get("seconds", agent.SECONDS)) + LATE_SECONDS
    feeding = asyncio.create_task(_feed(program, request, body))
    try:
        async with aclosing(read_answer(program)) as answer:  # type: ignore[type-var]
            while True:
                try:
                    async with asyncio.timeout_at(late_at):
                        part = await anext(answer)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise EngineUnavailable("The agent at the world does not answer.") from error
                yield part
    finally:
        feeding.cancel()
        with suppress(BaseException):  # what it raised is in the answer
            await feeding


async def _feed(program: Program, request: Mapping[str, Any], body: AsyncIterator[bytes] | None) -> None:
    try:
        await program.write(render_request(request))
        if body is not None:
            async with aclosing(render_body(body)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    await program.write(piece)
    except Exception:
        await program.end_input()  # the body failed: the agent drops what it has, and says so; or it is gone already


async def read_answer(
    source: Source, explain: Callable[[Mapping[str, Any]], OverworldError] | None = None
) -> AsyncIterator[dict[str, Any] | bytes | Done]:
    """What an agent says, item by item and piece by piece, ``Done`` last. Raises what its error stands for (to
    ``explain``, where the program is another that speaks so), and EngineUnavailable for an answer that ends before its
    end. The agent may have been taken over: nothing larger than
    one line and one piece is ever kept."""
    while True:
        try:
            line = await source.readline()
            if line.startswith(b"+"):
                size = int(line[1:]) if len(line) < 12 and line[1:-1].isdigit() else 0
                if not 0 < size <= agent.CHUNK * 2:
                    raise ValueError("a piece of no size")
                yield await source.readexactly(size)
                continue
            said = json.loads(line)
            (kind, content), *rest = said.items()
            if rest or not isinstance(content, dict):
                raise ValueError("not one thing")
        except (ValueError, AttributeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise EngineUnavailable("The agent at the world ended before its answer did.") from error
        if kind == "item":
            yield content
        elif kind == "done":
            yield Done(content)
            return
        else:
            raise (explain or _error)(content)


def _error(content: Mapping[str, Any]) -> OverworldError:
    code, says = str(content.get("code", "")), str(content.get("says", ""))[: agent.PATH_BYTES]
    return _ERRORS.get(code, EngineUnavailable)(says, reason=code)
