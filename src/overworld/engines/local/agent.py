"""The files of worlds on this machine: an agent for each request, as the user that owns the world."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, TypeVar

from overworld.domain.errors import Conflict, EngineRefused
from overworld.domain.servers import ServerId
from overworld.engines import agent
from overworld.engines.agent_link import LINE_BYTES, talk
from overworld.engines.base import WorldAccess, WorldAnswer
from overworld.engines.local.checks import engine_errors
from overworld.engines.local.folders import Folders
from overworld.engines.local.users import FIRST_UID, User

T = TypeVar("T")

# Imported rather than run as a script, so that its compiled form is used; its folder comes last in the path.
_BOOT = "import sys; sys.path.append(sys.argv.pop(1).removesuffix('/agent.py')); import agent; agent.main()"
_ENVIRONMENT = {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}
GRACE_SECONDS = 2.0


class LocalWorlds(WorldAccess):
    """The worlds below ``folder`` (the data folder's ``servers``). Holds no state; any number may exist."""

    def __init__(self, folder: Path) -> None:
        self._folders = Folders(folder.absolute())

    async def run(
        self,
        server_id: ServerId,
        generation: int,
        request: Mapping[str, Any],
        body: AsyncIterator[bytes] | None = None,
    ) -> WorldAnswer:
        with engine_errors(f"going to the world of server {server_id}"):
            world, user = await asyncio.to_thread(self._find, server_id, generation)
            process = await _spawn(world, str(request["verb"]), user)
        try:
            async with aclosing(talk(_Piped(process), request, body)) as answer:
                async for part in answer:
                    yield part
        finally:
            await _see_through(_end(process))

    async def make_world(self, server_id: ServerId, generation: int, *, like: int) -> None:
        def make() -> None:
            _, user = self._find(server_id, like)
            self._folders.make_world(server_id, generation, user)

        with engine_errors(f"making a world of server {server_id}"):
            await asyncio.to_thread(make)

    def _find(self, server_id: ServerId, generation: int) -> tuple[Path, User | None]:
        """The world and, where Overworld is root, its owner: whom root has given it to, for nobody else can."""
        world = self._folders.world(server_id, generation)
        try:
            seen = world.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise Conflict("The world is not there. It is made at the first start.", reason="WorldMissing") from None
        if not stat.S_ISDIR(seen.st_mode):
            raise EngineRefused("FolderClosed", f"{world} is not a folder. Put back what was there.")
        if os.geteuid() != 0:
            return world, None
        if seen.st_uid < FIRST_UID or seen.st_gid < FIRST_UID:
            raise EngineRefused(
                "FolderClosed",
                f"{world} belongs to user {seen.st_uid}, which is no server's. Start the server once, then its world "
                "belongs to its own user again.",
            )
        return world, User(seen.st_uid, seen.st_gid)


async def _spawn(world: Path, verb: str, user: User | None) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _BOOT, agent.__file__, verb),
        *(() if user is None else (str(user.uid), str(user.gid))),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        cwd=world,
        env=_ENVIRONMENT,
        limit=LINE_BYTES,
        start_new_session=True,
    )


class _Piped:
    """A process as a ``Program``."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input = process.stdin
        self.readline = process.stdout.readline
        self.readexactly = process.stdout.readexactly

    async def write(self, data: bytes) -> None:
        self._input.write(data)
        await self._input.drain()

    async def end_input(self) -> None:
        self._input.close()


async def _see_through(work: Coroutine[Any, Any, None]) -> None:
    """The work done, though its caller is cancelled meanwhile (CancelledError comes when it is done): a process that
    nobody waits for would stay as a zombie."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _end(process: Process) -> None:
    """Ended and reaped. One that still works is asked first, so that it removes what it had begun."""
    transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        # Python 3.11 tells of an end only when all pipes have ended, and one that nobody reads any more does not.
        for number in (0, 1):
            if (pipe := transport.get_pipe_transport(number)) is not None:
                pipe.close()
        # Not by asyncio.timeout, which in a task that is being cancelled would pass for another cancellation.
        waiting = asyncio.ensure_future(process.wait())
        if not (await asyncio.wait([waiting], timeout=GRACE_SECONDS))[0]:
            with suppress(ProcessLookupError):
                process.kill()
        await waiting
    transport.close()  # else its pipes stay until they are collected
