"""Large files through the real web process: bounded memory, whoever is slow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from installation import folder_for_everybody
from integration.web.serving import Served, serve
from overworld.store.database import Database
from waiting import wait_until
from worlds.serving import give_to_game, make_world, serve_files

GIB, MIB = 2**30, 2**20
MOST_GROWTH_BYTES = 96 * MIB


@pytest.fixture
def large(database: Database) -> Iterator[tuple[Served, str, Path]]:
    """The API as a process, a server's id and its world with a sparse file of 1 GiB."""
    with folder_for_everybody() as folder, serve_files(folder / "data"), serve(database, folder) as served:
        with served.client() as client:
            server = client.post("/servers", json={"name": "Home", "game": "luanti", "start": False}).json()["id"]
        world = make_world(database, folder / "data", server)
        with (world / "large").open("wb") as file:
            file.truncate(GIB)
        give_to_game(world)
        yield served, server, world


def memory_of(served: Served) -> int:
    """Resident bytes of the web process and its worker."""
    family = [psutil.Process(served.process.pid), *psutil.Process(served.process.pid).children(recursive=True)]
    return sum(process.memory_info().rss for process in family)


def test_a_gibibyte_passes_in_bounded_memory(large: tuple[Served, str, Path]) -> None:
    """Down to somebody quick and to somebody who stops, up again as a copy; web and worker never hold it."""
    served, server, world = large
    own = psutil.Process()
    before, own_before = memory_of(served), own.memory_info().rss
    path = f"/servers/{server}/files/content"
    most = 0
    with served.client() as client, served.client() as lazy:
        with (
            lazy.stream("GET", path, params={"path": "large"}) as stopped,
            client.stream("GET", path, params={"path": "large"}) as answer,
        ):
            assert answer.headers["Content-Length"] == str(GIB)
            pieces = stopped.iter_raw(1024)
            next(pieces)
            count = 0
            for piece in answer.iter_raw(MIB):
                count += len(piece)
                most = max(most, memory_of(served)) if count % (64 * MIB) < MIB else most
            assert count == GIB

        def zeros() -> Iterator[bytes]:
            for _ in range(256):
                yield bytes(MIB)

        assert client.put(path, params={"path": "copy"}, content=zeros()).status_code == 200
    assert (world / "copy").stat().st_size == 256 * MIB
    assert max(most, memory_of(served)) - before < MOST_GROWTH_BYTES
    assert own.memory_info().rss - own_before < MOST_GROWTH_BYTES  # the worker's HTTP runs in this process


def test_the_api_answers_while_files_are_sent(large: tuple[Served, str, Path]) -> None:
    """Downloads under way hold no database connection and do not hold up others."""
    served, server, _ = large
    ending = threading.Event()

    def take_slowly() -> None:
        with (
            served.client() as client,
            client.stream("GET", f"/servers/{server}/files/content", params={"path": "large"}) as answer,
        ):
            for _ in answer.iter_raw(65536):
                if ending.is_set():
                    return
                time.sleep(0.01)

    takers = [threading.Thread(target=take_slowly) for _ in range(4)]
    for taker in takers:
        taker.start()
    try:
        with served.client() as client:
            for _ in range(20):
                assert client.get("/servers").status_code == 200
            busy = wait_until(lambda: _if_busy(client, server), 30, "the account's four places are taken")
            assert busy.json()["type"].endswith("unavailable")
    finally:
        ending.set()
        for taker in takers:
            taker.join()


def _if_busy(client: httpx.Client, server: str) -> httpx.Response | None:
    answer = client.get(f"/servers/{server}/files")
    return answer if answer.status_code == 503 else None


def test_a_download_that_breaks_off_is_seen(large: tuple[Served, str, Path]) -> None:
    """The file is cut while it is read: the client gets an error, never a file that only seems whole."""
    served, server, world = large
    with (
        served.client() as client,
        client.stream("GET", f"/servers/{server}/files/content", params={"path": "large"}) as answer,
    ):
        pieces = answer.iter_raw(MIB)
        next(pieces)
        with (world / "large").open("r+b") as file:
            file.truncate(10 * MIB)
        with pytest.raises(httpx.RemoteProtocolError):
            sum(map(len, pieces))


def test_an_upload_that_breaks_off_is_no_file(large: tuple[Served, str, Path]) -> None:
    """Whoever said a length and goes away before it leaves nothing, though gunicorn ends the body without a word."""
    served, server, world = large
    head = (
        f"PUT /api/v1/servers/{server}/files/content?path=cut HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        f"{served.token}\r\nContent-Length: {50 * MIB}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as peer:
        peer.sendall(head.encode() + bytes(MIB))
        wait_until(lambda: list(world.glob(".overworld-*.part")), 20, "it has begun")
    wait_until(lambda: not list(world.glob(".overworld-*.part")), 20, "it is over")
    assert [file.name for file in world.iterdir()] == ["large"]
