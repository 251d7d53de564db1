"""The keeper as a pod's first process: its ports for the probes, its message for the pod's status, its pauses across
the containers of one pod."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from games.parts import ACTOR
from overworld.engines import keeper
from waiting import wait_until


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """What the kubelet's probe finds out."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Pod:
    """A pod: its volumes last, and its container can be started again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.message_file = folder / "message"
        self.started_port, self.ready_port = free_port(), free_port()
        self._processes: list[subprocess.Popen[str]] = []
        (folder / "world").mkdir()
        self.message_file.touch()

    def start(self, part: str, *arguments: str, **changes: Any) -> subprocess.Popen[str]:
        """A new container."""
        launch = {
            "argv": ["python3", "-I", str(ACTOR), part, *arguments],
            "environment": {"HOME": str(self.folder / "world"), "PATH": "/nowhere:/usr/bin"},
            "world": str(self.folder / "world"),
            "uid": None,
            "gid": None,
            "cgroups": [],
            "rlimits": {},
            "accepts_commands": True,
            "log_file": None,
            "stop": {"command": None, "signal": "SIGTERM", "grace_seconds": 1, "saved": "^world saved$"},
            "ready": "^ready to play",
            "roster": None,
            "restart_delays": [0.5, 60.0],
            "healthy_seconds": 600,
            "spec_hash": "",
            "restarts": 0,
            "world_generation": 1,
            "pod": {
                "programs": ["no-such-program", "python3"],
                "message": str(self.message_file),
                "started_port": self.started_port,
                "ready_port": self.ready_port,
            },
            **changes,
        }
        (self.folder / "launch.json").write_text(json.dumps(launch))
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, "foreground", str(self.folder / "launch.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._processes.append(process)
        return process

    def message(self) -> dict[str, Any]:
        """What its status would say of its container's end."""
        told: dict[str, Any] = json.loads(self.message_file.read_text())
        return told

    def phase(self) -> str:
        """What the keeper of its newest container last wrote."""
        state = json.loads((self.folder / "state.json").read_text())
        return str(state["phase"]) if state["keeper_pid"] == self._processes[-1].pid else ""

    def end(self) -> None:
        """End everything."""
        for process in self._processes:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
            process.communicate()


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """A pod without a container yet."""
    pod = Pod(tmp_path)
    yield pod
    pod.end()


def test_the_ports_open_as_the_game_starts_and_becomes_ready(pod: Pod) -> None:
    """And close with it; the program is found in the image."""
    process = pod.start("needs-long", "1")
    wait_until(lambda: is_open(pod.started_port), 10, "the game was started")
    assert not is_open(pod.ready_port)
    wait_until(lambda: is_open(pod.ready_port), 10, "the game is ready")
    process.terminate()
    assert process.wait(10) == 0
    assert not is_open(pod.started_port)
    assert not is_open(pod.ready_port)


def test_whoever_connects_is_told_who_plays(pod: Pod) -> None:
    """By the game's own lines: what the monitor asks, since many games have no query that tells."""
    roster = {"joins": r"^(?P<name>\w+) joins$", "leaves": r"^(?P<name>\w+) leaves$"}
    process = pod.start("good", roster=roster)
    wait_until(lambda: is_open(pod.ready_port), 10, "the game is ready")

    def told() -> Any:
        with socket.create_connection(("127.0.0.1", pod.ready_port), timeout=5) as asked, asked.makefile() as answer:
            return json.loads(answer.readline())["roster"]

    assert told() == []
    assert process.stdin is not None
    for line in ("say Anna joins", "say Ben joins", "say Anna leaves"):
        process.stdin.write(f"{line}\n")
    process.stdin.flush()
    wait_until(lambda: told() == ["Ben"], 10, "Ben alone plays")


def test_a_stop_leaves_the_proof_of_its_save_in_the_message(pod: Pod) -> None:
    """All that outlives the container."""
    process = pod.start("good")
    wait_until(lambda: is_open(pod.ready_port), 10, "the game is ready")
    process.terminate()
    process.wait(10)
    end = pod.message()["exit"]
    assert (end["status"], end["asked"], end["save_seen"], end["lines"][-1]) == (0, True, True, "world saved")


def test_after_a_crash_the_next_container_waits_for_what_is_left_of_the_pause(pod: Pod) -> None:
    """The crash is counted over containers, and no port is open while nothing runs."""
    assert pod.start("dies-at-once").wait(10) == 3
    first = pod.message()
    assert (first["crashes"], first["exit"]["status"], first["asked"]) == (1, 3, False)
    assert first["next_start_at"] == pytest.approx(first["exit"]["at"] + 0.5)
    assert pod.start("dies-at-once").wait(10) == 3
    second = pod.message()
    assert second["crashes"] == 2
    assert second["exit"]["at"] >= first["next_start_at"]
    pod.start("good")
    wait_until(lambda: pod.phase() == keeper.WAITING, 10, "it waits for its minute")
    assert not is_open(pod.started_port)


def test_a_stop_while_it_waits_is_at_once_and_the_crash_stays_told(pod: Pod) -> None:
    """Nothing runs, so nothing is waited for."""
    pod.start("dies-at-once").wait(10)
    pod.start("dies-at-once").wait(10)
    process = pod.start("good")
    wait_until(lambda: pod.phase() == keeper.WAITING, 10, "it waits for its minute")
    process.terminate()
    assert process.wait(10) == 0
    assert pod.message()["exit"]["status"] == 3


def test_a_keeper_that_was_killed_counts_as_a_crash(pod: Pod) -> None:
    """The kernel may take both for their memory: there is no message then, but the pod's folder remembers."""
    process = pod.start("good")
    wait_until(lambda: is_open(pod.ready_port), 10, "the game is ready")
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait(10)
    again = pod.start("good")
    wait_until(lambda: is_open(pod.ready_port), 10, "the game is ready again")
    again.terminate()
    again.wait(10)
    assert pod.message()["crashes"] == 1


def test_a_message_is_never_longer_than_the_kubelet_takes(pod: Pod) -> None:
    """The oldest words go first, and what is left is whole."""
    process = pod.start("good")
    wait_until(lambda: is_open(pod.ready_port), 10, "the game is ready")
    assert process.stdin is not None
    for number in range(20):
        process.stdin.write(f"say {number} {'ü' * 400}\n")
    process.stdin.write("crash 4\n")
    process.stdin.flush()
    process.wait(10)
    assert 1000 < pod.message_file.stat().st_size <= 4096
    assert pod.message()["exit"]["lines"][-1].startswith("19 ")
