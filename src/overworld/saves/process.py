"""Running a program that speaks JSON lines, with a deadline, with patience for a store that fails, and without secrets
in its arguments.

Secrets go through the environment: what can read a process's environment (the same user, or root) can also read its
memory, so a pipe would hide nothing more; arguments, which everybody can read, never hold one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from overworld.confinement import render_command
from overworld.saves import faults

_PASSED_ON = (
    "PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy",
    "https_proxy", "no_proxy",
)  # fmt: skip
_LINE_LIMIT = 2**24  # a list of all snapshots is one line
_WORDS_KEPT = 50
_GRACE_SECONDS = 10.0
_CHUNK = 2**18

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Invocation:
    """What to run: the program and its arguments, its secrets, and the only paths that it may read or write.

    ``given`` is its standard input, through a pipe and on no disk."""

    arguments: Sequence[str]
    deadline: timedelta
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    read: Sequence[Path] = ()
    write: Sequence[Path] = ()
    patience: timedelta = timedelta(minutes=2)
    line_limit: int = _LINE_LIMIT
    given: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class Ended:
    """How a program ended: its status (negative: the signal), its last words (standard error and JSON messages of
    errors), and why it was stopped, if it was."""

    status: int = 0
    words: deque[str] = field(default_factory=lambda: deque(maxlen=_WORDS_KEPT))
    deadline_passed: bool = False
    store_failed: bool = False


class Running:
    """A program at work. Whatever ends the ``async with`` of ``start``, the program is gone after it."""

    def __init__(self, invocation: Invocation, process: asyncio.subprocess.Process, clock: asyncio.Timeout) -> None:
        self.ended = Ended()
        self._process = process
        self._clock = clock
        self._deadline_at = clock.when() or 0.0
        self._patience = invocation.patience.total_seconds()
        self._failing_since: float | None = None
        self._refusals = 0
        self._errors = asyncio.create_task(self._read_errors())

    async def lines(self) -> AsyncIterator[bytes]:
        """Its standard output, line by line."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield line

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its standard output as it comes."""
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(_CHUNK):
            yield chunk

    async def finish(self) -> None:
        """It ended by itself; ``ended`` says how."""
        self.ended.status = await self._process.wait()
        await self._errors

    async def stop(self) -> None:
        """It is gone, and all that it started: asked first (so that it removes its locks), then killed."""
        rest = asyncio.create_task(self._read_rest())  # a full pipe would hold it up
        for number, patience in ((signal.SIGINT, _GRACE_SECONDS), (signal.SIGKILL, None)):
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        self.ended.status = await self._process.wait()
        rest.cancel()
        self._errors.cancel()
        await asyncio.gather(rest, self._errors, return_exceptions=True)

    async def _read_rest(self) -> None:
        async for _ in self.chunks():
            pass

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            words = _words_of(line)
            if not words:
                continue
            self.ended.words.append(words)
            self._watch_the_store(words)

    def _watch_the_store(self, words: str) -> None:
        """restic repeats what failed for 15 minutes, also what nobody but a person can mend: no longer than our
        patience, and what was refused only once more."""
        now = asyncio.get_running_loop().time()
        if faults.says_that_it_recovered(words):
            self._failing_since, self._refusals = None, 0
            self._reschedule(self._deadline_at)
        elif faults.says_that_it_tries_again(words):
            self._refusals += faults.is_refusal(words)
            self._failing_since = self._failing_since or now
            until = now if self._refusals > 1 else self._failing_since + self._patience
            self._reschedule(min(until, self._deadline_at))

    def _reschedule(self, when: float) -> None:
        if not self._clock.expired():
            self._clock.reschedule(when)

    def stopped_by_the_clock(self) -> None:
        """Note which of the two it was."""
        if self._failing_since is not None and (self._clock.when() or 0.0) < self._deadline_at:
            self.ended.store_failed = True
        else:
            self.ended.deadline_passed = True


@contextlib.asynccontextmanager
async def start(invocation: Invocation) -> AsyncGenerator[Running, None]:
    """Run it for the length of the block. A passed deadline ends the block without an error: ``ended`` tells."""
    process = await asyncio.create_subprocess_exec(
        *render_command(invocation.arguments, read=invocation.read, write=invocation.write),
        stdin=asyncio.subprocess.PIPE if invocation.given else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(invocation.environment),
        cwd=invocation.folder,
        limit=invocation.line_limit,
        start_new_session=True,
    )
    running: Running | None = None
    try:
        async with asyncio.timeout(invocation.deadline.total_seconds()) as clock:
            running = Running(invocation, process, clock)
            if process.stdin is not None:
                process.stdin.write(invocation.given)
                process.stdin.close()
            yield running
    except TimeoutError:
        if running is None or not clock.expired():
            raise
        running.stopped_by_the_clock()
    finally:
        if running is not None:
            await asyncio.shield(running.stop())


async def run(invocation: Invocation, on_message: Callable[[Json], None]) -> Ended:
    """How it ended. Each JSON line of its output was handed to ``on_message``; other lines are passed over."""
    async with start(invocation) as running:
        async for line in running.lines():
            message = _message_of(line)
            if message is not None:
                on_message(message)
        await running.finish()
    return running.ended


def _message_of(line: bytes) -> Any:
    if not line.startswith((b"{", b"[")):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _words_of(line: bytes) -> str:
    """What a line of standard error says: the sentence in its JSON, or itself."""
    message = _message_of(line)
    if not isinstance(message, dict):
        return line.decode(errors="replace").strip()
    if isinstance(message.get("error"), dict):
        return f"{message.get('item', '')}: {message['error'].get('message', '')}"
    return str(message.get("message", "")).strip()
