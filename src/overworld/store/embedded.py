"""The embedded PostgreSQL: a child of this process, reached by a unix socket only, that never outlives it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import psycopg
import structlog
from sqlalchemy import URL

from overworld.domain.errors import Unavailable
from overworld.store.embedded_files import (
    DATABASE_USER,
    Files,
    explain_output,
    find_files,
    make_folder,
    prepare,
    remove_socket_folder,
    told_errors,
)

log = structlog.get_logger(__name__)

READY_SECONDS = 120.0  # after a crash PostgreSQL replays its log first
FAST_STOP_SECONDS = 10.0
IMMEDIATE_STOP_SECONDS = 5.0
POLL_SECONDS = 0.01
LOG_BYTES = 5_000_000

# Small, but durable: fsync, full_page_writes and synchronous_commit stay on.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",  # only part of the socket's name
    "max_connections": "40",
    "superuser_reserved_connections": "2",
    "shared_buffers": "32MB",
    "huge_pages": "off",
    "maintenance_work_mem": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "io_method": "sync",  # no I/O worker processes
    "max_worker_processes": "2",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "2",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "overworld",
}

# Run by a fresh interpreter: between fork and exec of a program with threads nothing of this is safe. The order
# matters: the kernel forgets the death signal when the user changes. A parent that died before it was set is noticed.
_LAUNCHER = """
import ctypes, os, signal, sys
parent, uid, gid, *command = sys.argv[1:]
if os.geteuid() != int(uid):
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
if os.getppid() != int(parent):
    sys.exit("the parent is gone")
os.umask(0o077)
os.execv(command[0], command)
"""


class EmbeddedPostgres:
    """Overworld's own PostgreSQL in ``<data_folder>/postgres``; one process at a time may have it.

    It is shut down (SIGINT: fast, with a checkpoint) when this process ends, however it ends. Started as root it runs
    as ``nobody``. All methods block; call them from one thread at a time, any thread.
    """

    def __init__(self, data_folder: Path) -> None:
        self._files = find_files(data_folder)
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        """The URL of its database, password included."""
        return URL.create(
            "postgresql",
            username=DATABASE_USER,
            password=self._files.password,
            database="postgres",
            query={"host": str(self._files.socket_folder)},
        ).render_as_string(hide_password=False)

    @property
    def pid(self) -> int | None:
        """The process id while it is alive."""
        return self._process.pid if self._process is not None and self.is_alive() else None

    def is_alive(self) -> bool:
        """Whether the process that ``start`` started has not ended."""
        return self._process is not None and not self._ended.is_set()

    def start(self) -> str:
        """Start it, create it first where there is none, and return its URL when it answers. Safe to call again: does
        nothing while it is alive, starts it anew (as after a crash) when it is not.

        What an earlier, killed Overworld left running on the data is stopped first. Raises ``Unavailable`` with what
        to do: another Overworld is running on the folder, data of another major version, a full disk, no permission.
        """
        if self.is_alive():
            return self.url
        files = self._files
        try:
            make_folder(files)
            with told_errors(files):
                self._take_lock()
                _stop_leftovers(files)
                prepare(files)
                self._spawn()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Shut it down: its connections are closed, all that was committed is on disk. Kills it if it takes longer
        than 10 s (then the next start replays its log). Safe to call twice."""
        if self._process is not None:
            for kind, seconds in ((signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS)):
                if not self._ended.is_set():
                    self._process.send_signal(kind)
                    self._ended.wait(seconds)
            if not self._ended.is_set():
                self._process.kill()
                self._ended.wait()
            self._process = None
        if self._lock is not None:
            remove_socket_folder(self._files)
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        descriptor = os.open(self._files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise Unavailable(
                f"Another Overworld (process {holder or 'unknown'}) is using {self._files.folder}: stop it first, or "
                "choose another folder by OVERWORLD_DATA_FOLDER."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def _spawn(self) -> None:
        files = self._files
        if files.log.exists() and files.log.stat().st_size > LOG_BYTES:
            files.log.replace(files.log.with_name("log.1"))
        (files.data / "postmaster.pid").unlink(missing_ok=True)  # stale: nobody runs on the data, and we hold the lock
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (files.socket_folder / name).unlink(missing_ok=True)
        socket_folder = str(files.socket_folder).replace('"', '""')
        settings = {**SETTINGS, "unix_socket_directories": f'"{socket_folder}"'}
        command = [
            *(sys.executable, "-I", "-S", "-c", _LAUNCHER),
            *(str(os.getpid()), str(files.user.pw_uid), str(files.user.pw_gid)),
            *(str(files.programs / "postgres"), "-D", str(files.data)),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ]
        self._ended.clear()
        spawned = threading.Event()
        failures: list[OSError] = []

        def keep() -> None:
            # The death signal is sent when the *thread* that started the child ends: so this one stays with it.
            try:
                with open(files.log, "ab", opener=_open_closed_to_others) as output:
                    self._process = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        cwd="/",
                        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                        start_new_session=True,  # Ctrl-C is for us; we stop it when its users are done
                    )
            except OSError as error:
                failures.append(error)
                return
            finally:
                spawned.set()
            self._process.wait()
            self._ended.set()

        threading.Thread(target=keep, name="embedded-postgres", daemon=True).start()
        spawned.wait()
        if failures:
            raise failures[0]

    def _wait_until_ready(self) -> None:
        files = self._files
        give_up_at = time.monotonic() + READY_SECONDS
        while not _says_ready(files, self._process):
            if self._ended.wait(POLL_SECONDS):
                raise explain_output(files, "ended while it was starting", _tail(files.log))
            if time.monotonic() > give_up_at:
                raise explain_output(files, f"did not answer within {READY_SECONDS:.0f} s", _tail(files.log))
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            raise Unavailable(f"The embedded PostgreSQL lets nobody in: {error}") from error
        log.info("the embedded PostgreSQL is ready", pid=self.pid, version=files.version)


def _says_ready(files: Files, process: subprocess.Popen[bytes] | None) -> bool:
    """Whether PostgreSQL wrote into its pid file (the eighth line) that it takes connections."""
    try:
        lines = (files.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return process is not None and len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready"


def _stop_leftovers(files: Files) -> None:
    """Stop what still runs on the data. We hold the lock, so whoever started it is dead."""
    for kind, seconds in (
        (signal.SIGINT, FAST_STOP_SECONDS),
        (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS),
        (signal.SIGKILL, IMMEDIATE_STOP_SECONDS),
    ):
        leftovers = _find_leftovers(files)
        if not leftovers:
            return
        log.warning("stopping a PostgreSQL that was left over", pids=[found.pid for found in leftovers], signal=kind)
        for found in leftovers:
            try:
                found.send_signal(kind)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(leftovers, timeout=seconds)
    if left := _find_leftovers(files):
        raise Unavailable(f"Processes {[found.pid for found in left]} still use {files.data} and cannot be stopped.")


def _find_leftovers(files: Files) -> list[psutil.Process]:
    """The processes of a PostgreSQL on our data: each has it as its working folder, whatever its pid file says."""
    return [
        one for one in psutil.process_iter(["name"]) if one.info["name"] == "postgres" and _works_in(one, files.data)
    ]


def _works_in(process: psutil.Process, folder: Path) -> bool:
    """Asked of the folder, not of its name: that of a stranger's may be too long to be read."""
    try:
        return os.path.samefile(f"/proc/{process.pid}/cwd", folder)
    except OSError:  # it has ended, or is none of ours to look at
        return False


def _open_closed_to_others(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4000))
        return file.read().decode(errors="replace")
