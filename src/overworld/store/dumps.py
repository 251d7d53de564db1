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
from pathlib import Path

import psycopg

from overworld.domain.errors import BadInput, Unavailable
from overworld.domain.programs import Program
from overworld.store.database import CONNECT_SECONDS, parse_url, translated_errors
from overworld.store.embedded_files import client_program

_DEBIAN = Path("/usr/lib/postgresql")
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "service")
_LOCK_WAIT = "30s"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_WORDS_BYTES = 2000


def dump_program(url: str) -> Program:
    """The program that prints a dump of that database. Blocking. Raises ``Unavailable`` where PostgreSQL does not
    answer or no pg_dump is new enough for it."""
    url = _plain(url)
    pg_dump, reads = _find("pg_dump", _major_of(url), newer=True)
    arguments = [str(pg_dump), "--format=custom", "--compress=0", "--no-owner", "--no-privileges"]
    return Program(
        [*arguments, f"--lock-wait-timeout={_LOCK_WAIT}"], _environment(url), [*map(str, reads), *_files_of(url)]
    )


async def load_dump(url: str, chunks: AsyncIterator[bytes]) -> None:
    """The empty database is what the dump says: all of it, or it is still empty. Raises ``Unavailable`` with
    pg_restore's words, and what ``chunks`` raises."""
    url = _plain(url)
    major = await asyncio.to_thread(_major_of, url)
    pg_restore, _ = await asyncio.to_thread(_find, "pg_restore", major, newer=False)
    process = await asyncio.create_subprocess_exec(
        *(str(pg_restore), "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"),
        f"--dbname={_name_of(url)}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, **_environment(url)},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    words = asyncio.create_task(process.stderr.read())
    try:
        async for chunk in chunks:
            process.stdin.write(chunk)
            await process.stdin.drain()
        process.stdin.close()
        status = await process.wait()
    except (BrokenPipeError, ConnectionResetError):  # it ended before it had read all; its words say why
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        said = (await words).decode(errors="replace")
    if status != 0:
        raise Unavailable(f"The database cannot be brought back: {said[-_WORDS_BYTES:].strip() or 'no reason given'}")


def _major_of(url: str) -> int:
    with translated_errors(), psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
        return connection.info.server_version // 10000


def _find(name: str, major: int, *, newer: bool) -> tuple[Path, list[Path]]:
    """The program of the server's own version, else (``newer``) the oldest that is newer, which can read it too; and
    what it has to read besides the system."""
    ours, reads = client_program(name)
    on_path = shutil.which(name)
    candidates = [ours, *_DEBIAN.glob(f"*/bin/{name}"), *([Path(on_path)] if on_path else [])]
    versions = {path: version for path in candidates if (version := _version_of(path)) is not None}
    fitting = [path for path, version in versions.items() if version == major or (newer and version > major)]
    if not fitting:
        found = ", ".join(sorted({str(version) for version in versions.values()})) or "none"
        raise Unavailable(
            f"PostgreSQL {major} needs a {name} of its own version (found: {found}): install Debian's"
            f" postgresql-client-{major}, or put it on PATH."
        )
    chosen = min(fitting, key=lambda path: versions[path])
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
