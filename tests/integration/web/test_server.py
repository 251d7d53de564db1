"""The server as a process: what it leaves, what it loads, how it ends, and what it keeps from stalling."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from integration.web.serving import Served
from waiting import wait_until


def is_gone(pid: int) -> bool:
    """Whether there is no such process, or only its remains."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_writes_nothing_into_the_home_folder(served: Served) -> None:
    """gunicorn's control socket is off."""
    assert list((served.log.parent / "home").iterdir()) == []


def test_ready_only_with_a_current_schema(served: Served) -> None:
    """/readyz asks the database, /livez does not."""
    assert httpx.get(f"{served.url}/readyz").status_code == 200
    assert httpx.get(f"{served.url}/livez").text == "ok\n"


def test_sigterm_ends_it_though_a_stream_is_open(served: Served) -> None:
    """An open console does not hold it for longer than its grace; the exit status is 0."""
    with served.client() as client:
        server = client.post("/servers", json={"name": "Home", "game": "luanti", "start": False}).json()
        headers = {"Accept": "text/event-stream"}
        with client.stream("GET", f"/servers/{server['id']}/console", headers=headers) as stream:
            assert next(stream.iter_lines()).startswith(":")
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(10) == 0


@pytest.mark.parametrize("killed", ["the parent", "the parent at once", "the arbiter"])
def test_nothing_outlives_what_started_it(served: Served, tmp_path: Path, killed: str) -> None:
    """Kill -9 of the process that started it, even before it has looked for its parent, or of gunicorn's own parent
    process: all of it is gone at once."""
    environment = {**psutil.Process(served.process.pid).environ(), "OVERWORLD_LISTEN_PORT": str(_free_port())}
    script = """if True:
        import os, subprocess, sys
        web = subprocess.Popen([*sys.argv[1:], "--parent", str(os.getpid())])
        print(web.pid, flush=True)
        web.wait()
    """
    command = [sys.executable, "-m", "overworld", "web"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        arbiter = psutil.Process(int(parent.stdout.readline()))
        if killed == "the parent at once":
            parent.kill()
            wait_until(lambda: is_gone(arbiter.pid), 20, "it is gone")
            return
        (worker,) = wait_until(arbiter.children, 20, "the worker is there")
        url = f"http://127.0.0.1:{environment['OVERWORLD_LISTEN_PORT']}/livez"
        wait_until(lambda: _answers(url), 20, "it answers")
        os.kill(parent.pid if killed == "the parent" else arbiter.pid, signal.SIGKILL)
        wait_until(lambda: is_gone(worker.pid) and is_gone(arbiter.pid), 10, "both are gone")


def test_a_killed_worker_is_replaced(served: Served) -> None:
    """Kill -9 of the worker: another one answers."""
    (worker,) = psutil.Process(served.process.pid).children()
    worker.kill()
    wait_until(lambda: _answers(f"{served.url}/livez"), 20, "it answers again")


def test_it_loads_only_what_it_needs() -> None:
    """Neither a game's query protocol nor an engine, the controller or the command line comes with the application."""
    script = (
        "import sys, overworld.web.app, overworld.web.server, overworld.engines.local.console, overworld.wiring\n"
        "bad = ['opengsq', 'mcstatus', 'alembic', 'httpx', 'overworld.controller',"
        " 'overworld.monitor', 'overworld.cli', 'overworld.engines.local.engine', 'overworld.games.query']\n"
        "print([name for name in bad if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert shown == "[]\n"


def test_a_slow_sender_stalls_nobody(served: Served) -> None:
    """Fifty clients that send half a request hold no database connection: others are answered."""
    host, port = served.url.removeprefix("http://").split(":")
    head = f"POST /api/v1/servers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.token}\r\n"
    slow = [socket.create_connection((host, int(port))) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{")
        with served.client() as client:
            assert client.get("/servers").status_code == 200
    finally:
        for connection in slow:
            connection.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
