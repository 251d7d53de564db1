"""Dumps of the whole database by PostgreSQL's own programs, and bringing one back.

A dump is in pg_dump's custom format, uncompressed, so that the save store finds what did not change since the last one.
It is what the database was at one moment, whoever writes meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from overworld.domain.errors import BadInput, Unavailable
from overworld.domain.programs import Program
from overworld.store.database import CONNECT_SECONDS, parse_url, translated_errors
from overworld.store.embedded_files import client_program
from overworld.store.recovery_mark import MARK_SCHEMA

_DEBIAN = Path("/usr/lib/postgresql")
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "service")
_LOCK_WAIT = "30s"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_WORDS_BYTES = 2000
_PIECE_BYTES = 65536
_HEAD_LINES = 40
_UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"
"""Among the first lines of every script; 17 is the first to know it."""


def dump_program(url: str) -> Program:
    """The program that prints a dump of that database. Blocking. Raises ``Unavailable`` where PostgreSQL does not
    answer or no pg_dump is new enough for it."""
    url = _plain(url)
    pg_dump, reads = _find("pg_dump", _major_of(url))
    arguments = [str(pg_dump), "--format=custom", "--compress=0", "--no-owner", "--no-privileges"]
    arguments += [f"--exclude-schema={MARK_SCHEMA}", f"--lock-wait-timeout={_LOCK_WAIT}"]
    return Program(arguments, _environment(url), [*map(str, reads), *_files_of(url)])


async def load_dump(url: str, chunks: AsyncIterator[bytes]) -> None:
    """The empty database is what the dump says: all of it, or it is still empty. Raises ``Unavailable`` with
    PostgreSQL's words, and what ``chunks`` raises.

    pg_restore writes a script and psql runs it in one transaction, so that a newer pg_restore fills an older PostgreSQL
    too: the one setting that this does not know is left out on the way.
    """
    url = _plain(url)
    major = await asyncio.to_thread(_major_of, url)
    pg_restore, _ = await asyncio.to_thread(_find, "pg_restore", major, newest=True)
    environment = {"PATH": os.defpath, **_environment(url)}
    quietly = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-", f"--dbname={_name_of(url)}")
    async with (
        _running(environment, pg_restore, "--file=-", "--exit-on-error", "--no-owner", "--no-privileges") as reader,
        _running(environment, pg_restore.with_name("psql"), *quietly) as writer,
    ):
        feeding = asyncio.create_task(_feed(reader, chunks))
        try:
            await _pass_on(reader, writer)
            await feeding
        finally:
            feeding.cancel()
        problem = await reader.end()
        if not problem:
            await writer.write(b"COMMIT;\n")  # without this line, whatever ended it, nothing has changed
        problem = await writer.end() or problem
    if problem:
        raise Unavailable(f"The database cannot be brought back: {problem}")


class _Running:
    """One of PostgreSQL's programs at work."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stderr is not None
        self._words = asyncio.create_task(process.stderr.read())

    async def write(self, piece: bytes) -> bool:
        """Whether it still takes what it is given; else its words say why it has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(piece)
            await self.process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    async def end(self) -> str:
        """It has got everything, and has ended; why it failed, "" if it did not."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = await self.process.wait()
        said = (await self._words).decode(errors="replace")[-_WORDS_BYTES:].strip()
        return (said or f"it ended with {status}") if status else ""


@asynccontextmanager
async def _running(environment: dict[str, str], program: Path, *arguments: str) -> AsyncIterator[_Running]:
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE if program.name == "pg_restore" else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    running = _Running(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.end()


async def _feed(reader: _Running, chunks: AsyncIterator[bytes]) -> None:
    try:
        async for chunk in chunks:
            if not await reader.write(chunk):
                return
    finally:
        assert reader.process.stdin is not None
        reader.process.stdin.close()


async def _pass_on(reader: _Running, writer: _Running) -> None:
    script = reader.process.stdout
    assert script is not None
    goes_on = await writer.write(b"BEGIN;\n")
    for _ in range(_HEAD_LINES):
        line = await script.readline()
        if line != _UNKNOWN_BEFORE_17:
            goes_on = goes_on and await writer.write(line)
    while goes_on and (piece := await script.read(_PIECE_BYTES)):
        goes_on = await writer.write(piece)
    if not goes_on:
        reader.process.kill()  # nobody reads what it writes


def _major_of(url: str) -> int:
    with translated_errors(), psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
        return connection.info.server_version // 10000


def _find(name: str, major: int, *, newest: bool = False) -> tuple[Path, list[Path]]:
    """The program of the server's own version, else the oldest that is newer; or (``newest``) the newest, which reads
    every dump. And what it has to read besides the system."""
    ours, reads = client_program(name)
    on_path = shutil.which(name)
    candidates = [ours, *_DEBIAN.glob(f"*/bin/{name}"), *([Path(on_path)] if on_path else [])]
    versions = {path: version for path in candidates if (version := _version_of(path)) is not None}
    fitting = [path for path, version in versions.items() if version >= major]
    if not fitting:
        found = ", ".join(sorted({str(version) for version in versions.values()})) or "none"
        raise Unavailable(
            f"PostgreSQL {major} needs a {name} of its version or newer (found: {found}): install Debian's"
            f" postgresql-client-{major}, or put it on PATH."
        )
    chosen = (max if newest else min)(fitting, key=lambda path: versions[path])
    return chosen, reads if chosen == ours else [chosen.resolve().parent]


def _version_of(path: Path) -> int | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(said)
    return None if found is None else int(found[1])


def _plain(url: str) -> str:
    """As libpq reads it: without SQLAlchemy's name of a driver."""
    return parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _environment(url: str) -> dict[str, str]:
    """The URL by the environment variables of libpq: an argument could be read by everybody on the machine."""
    given = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    for option in psycopg.pq.Conninfo.parse(url.encode()):
        if option.val is not None and option.envvar is not None:
            given[option.envvar.decode()] = option.val.decode()
    return given


def _name_of(url: str) -> str:
    name = psycopg.conninfo.conninfo_to_dict(url).get("dbname")
    if not name:
        raise BadInput("The database URL names no database. It looks like postgresql://user:password@host/name.")
    return str(name)


def _files_of(url: str) -> list[str]:
    given = psycopg.conninfo.conninfo_to_dict(url)
    return [str(given[name]) for name in _FILES if given.get(name)]
