"""The worker's internal HTTP, asked by others than web."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from installation import folder_for_everybody
from overworld.domain.errors import NotFound, Unavailable
from overworld.domain.tickets import LIFETIME, Ticket, seal_ticket
from overworld.engines.local.agent import LocalWorlds
from overworld.secret_file import keep_secret
from overworld.web.worker_link import WorkerLink
from overworld.worker.address import listen_in
from overworld.worker.files_http import PER_ACCOUNT, FilesServer
from waiting import wait_until
from worlds.serving import make_folder, serve_files

SERVER = "abcdefghijkl"


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder with one world, served."""
    with folder_for_everybody() as folder:
        (make_folder(folder, SERVER) / "file").write_text("content")
        with serve_files(folder):
            yield folder


def ticket(verb: str = "list", *, account: str = "anna", **request: Any) -> Ticket:
    """A ticket for the server."""
    return Ticket(account, SERVER, 1, {"verb": verb, "path": "", **request}, datetime.now(UTC) + LIFETIME)


@contextmanager
def connection(data: Path) -> Iterator[socket.socket]:
    """A connection to the socket, for saying what one likes."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(str(data / "worker.socket"))
        yield peer


def said(peer: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    received = b""
    try:
        while data := peer.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


def parts(data: Path) -> list[str]:
    """What uploads have left behind in the world."""
    return [name for name in os.listdir(data / "servers" / SERVER / "world" / "1") if name.startswith(".overworld")]


def test_only_overworlds_user_can_open_the_socket(data: Path) -> None:
    """Neither socket nor key can be opened by a game."""
    assert (data / "worker.socket").stat().st_mode & 0o777 == 0o600
    assert (data / "worker-secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /files HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /files HTTP/1.1\r\nHost: x\r\nAuthorization: Ticket abc.def\r\nContent-Length: 0\r\n\r\n",
        b"POST /files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_without_a_ticket_nothing_is_done(data: Path, request_bytes: bytes) -> None:
    """401, whatever else is said."""
    with connection(data) as peer:
        peer.sendall(request_bytes)
        assert said(peer).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "noise", [b"\0" * 1000, b"POST", b"POST /files HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, b"\r\n\r\n"]
)
def test_noise_is_let_go(data: Path, noise: bytes) -> None:
    """What is no HTTP ends its connection, and the next one is answered."""
    with connection(data) as peer:
        try:
            peer.sendall(noise)
            peer.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        said(peer)
    assert WorkerLink(data / "worker.socket", lambda: keep_secret(data / "worker-secret")).ask(ticket())[0]


def test_a_ticket_of_another_key_is_refused(data: Path) -> None:
    """And web says that it is not known there, which is the operator's matter and not the caller's."""
    with pytest.raises(Unavailable, match="does not know this web process"):
        WorkerLink(data / "worker.socket", lambda: b"x" * 32).ask(ticket())


def test_a_refusal_arrives_as_the_error_that_it_was(data: Path) -> None:
    """With its kind, sentence and reason."""
    with pytest.raises(NotFound) as caught:
        WorkerLink(data / "worker.socket", lambda: keep_secret(data / "worker-secret")).ask(ticket("stat", path="gone"))
    assert caught.value.extra == {"reason": "not-found"}


def test_an_upload_that_breaks_off_leaves_nothing(data: Path) -> None:
    """Its sender dies in the middle: no file, and no part of one."""
    sealed = seal_ticket(ticket("upload", path="new", most_bytes=10**6), keep_secret(data / "worker-secret"))
    with connection(data) as peer:
        head = f"POST /files HTTP/1.1\r\nHost: x\r\nAuthorization: Ticket {sealed}\r\nContent-Length: 1000\r\n\r\n"
        peer.sendall(head.encode() + b"begun")
        wait_until(lambda: parts(data), 20, "the upload has begun")
    wait_until(lambda: not parts(data), 20, "the upload is gone")
    assert os.listdir(data / "servers" / SERVER / "world" / "1") == ["file"]


def test_one_account_cannot_hold_all_places(data: Path) -> None:
    """Whoever has four uploads under way is told to come back; somebody else is not."""
    link = WorkerLink(data / "worker.socket", lambda: keep_secret(data / "worker-secret"))
    peers = []
    try:
        for number in range(PER_ACCOUNT):
            opened = connection(data)
            peer = opened.__enter__()
            peers.append(opened)
            upload = ticket("upload", path=f"new{number}", most_bytes=100)
            sealed = seal_ticket(upload, keep_secret(data / "worker-secret"))
            head = f"POST /files HTTP/1.1\r\nHost: x\r\nAuthorization: Ticket {sealed}\r\nContent-Length: 9\r\n\r\n"
            peer.sendall(head.encode())
        wait_until(lambda: len(parts(data)) == PER_ACCOUNT, 30, "all are at work")
        with pytest.raises(Unavailable, match="4 files already"):
            link.ask(ticket())
        assert link.ask(ticket(account="ben"))[0]
    finally:
        for opened in peers:
            opened.__exit__(None, None, None)

    def is_free() -> bool:
        try:
            return bool(link.ask(ticket())[0])
        except Unavailable:
            return False

    wait_until(is_free, 30, "the places are free again")


def test_a_new_worker_takes_the_socket_over(data: Path) -> None:
    """One that a dead worker left is no obstacle."""
    with listen_in(data) as listener:
        listener.settimeout(20)
        with connection(data):
            listener.accept()[0].close()


def test_it_ends_though_somebody_takes_nothing() -> None:
    """A peer that has stopped in the middle of a download holds nobody up at the end, and leaves no agent."""
    with folder_for_everybody() as folder:
        with (make_folder(folder, SERVER) / "large").open("wb") as file:
            file.truncate(2**30)
        with serve_files(folder), connection(folder) as peer:
            sealed = seal_ticket(ticket("download", path="large"), keep_secret(folder / "worker-secret"))
            head = f"POST /files HTTP/1.1\r\nHost: x\r\nAuthorization: Ticket {sealed}\r\nContent-Length: 0\r\n\r\n"
            peer.sendall(head.encode())
            assert peer.recv(1000)
        worlds = str(folder / "servers")
        assert [process for process in psutil.process_iter() if _works_in(process, worlds)] == []


@pytest.mark.parametrize("rounds", range(8))
async def test_no_connection_outlives_it(tmp_path: Path, rounds: int) -> None:
    """However far asyncio has come with accepting one when the server ends: pytest fails if one is left unclosed."""
    server = FilesServer(LocalWorlds(tmp_path), b"x" * 32)
    with socket.socket(socket.AF_UNIX) as peer:
        async with server.serve(listen_in(tmp_path)):
            peer.settimeout(30)
            peer.connect(str(tmp_path / "worker.socket"))
            for _ in range(rounds):
                await asyncio.sleep(0)
        assert said(peer) == b""
    gc.collect()


def _works_in(process: psutil.Process, folder: str) -> bool:
    try:
        return process.cwd().startswith(folder)
    except (psutil.Error, OSError):  # OSError: a folder of somebody else's with too long a name
        return False
