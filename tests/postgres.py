"""Debian's PostgreSQL 15 for the tests: one throw-away cluster a session, one cloned database a test."""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from waiting import wait_until

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
SUPERUSER = "tester"

_libc = ctypes.CDLL(None)
_numbers = itertools.count(1)


def is_installed() -> bool:
    """Whether Debian's PostgreSQL 15 is here."""
    return (PROGRAMS / "initdb").exists()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A throw-away data folder that every user can enter, as PostgreSQL under root needs it (pytest's cannot be)."""
    folder = Path(tempfile.mkdtemp(prefix="ow-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def run_cluster(address: str | None = None, port: int = 5432) -> Iterator[str]:
    """The URL of the superuser's database on a new cluster, nothing of which is ever synced to disk: on a unix socket,
    or with ``address`` also there, for everybody who reaches it."""
    folder = Path(tempfile.mkdtemp(prefix="ow-pg-"))
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    try:
        os.chown(folder, user.pw_uid, user.pw_gid)
        _run_as(user, "initdb", "-D", f"{folder}/data", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync",
                "--locale=C.UTF-8")  # fmt: skip
        settings = {
            "listen_addresses": address or "",
            "port": str(port),
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "120",
            "shared_buffers": "64MB",
            "timezone": "Asia/Kathmandu",  # so that nothing relies on the server's own zone being UTC
        }
        if address is not None:
            with (folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all 0.0.0.0/0 trust\n")
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [PROGRAMS / "postgres", "-D", f"{folder}/data", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user.pw_uid,
                group=user.pw_gid,
                extra_groups=(),
                cwd=folder,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no threads yet; runs after the change of user
            )
        try:
            url = f"postgresql://{SUPERUSER}@/postgres?host={folder}&port={port}"
            _wait_until_ready(url, process)
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def create_database(server_url: str, template: str = "template1") -> str:
    """A new database, a copy of ``template``; its URL."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(url: str, server_url: str) -> None:
    """Remove a database, whoever is connected to it."""
    name = make_url(url).database or ""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _end_with_parent() -> None:
    """Nothing stays behind when the tests are killed."""
    pr_set_pdeathsig = 1
    _libc.prctl(pr_set_pdeathsig, signal.SIGQUIT)


def _run_as(user: pwd.struct_passwd, program: str, *arguments: str) -> None:
    subprocess.run(
        [PROGRAMS / program, *arguments],
        check=True,
        capture_output=True,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=(),
        cwd="/",
    )


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert process.poll() is None, "PostgreSQL ended while it was starting"
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return False
        return True

    wait_until(answers, 20, "PostgreSQL answers")
