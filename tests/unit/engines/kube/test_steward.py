"""The steward's own program: what it runs ends with its caller, and it knows when nobody wants it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from overworld.engines.kube import steward
from waiting import wait_until

ENDLESS = "import time; print('begun', flush=True); time.sleep(1000)"


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The program, with a room of its own."""
    copy = tmp_path / "steward.py"
    text = Path(steward.__file__).read_text(encoding="utf-8")
    copy.write_text(text.replace('"/tmp/steward"', repr(str(tmp_path / "in-use"))), encoding="utf-8")
    return [sys.executable, "-I", "-S", str(copy)]


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """For the length of the block."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_what_is_said_passes_both_ways(program: list[str], tmp_path: Path) -> None:
    """To the program in its folder, and back, with its exit status."""
    code = "import os, sys; print(os.getcwd(), sys.stdin.readline().strip()); sys.exit(3)"
    with running([*program, "run", "5", str(tmp_path), sys.executable, "-c", code]) as process:
        assert process.stdin is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout is not None
        assert process.stdout.read().decode().split() == [str(tmp_path), "hello"]
        assert process.wait(20) == 3


def test_the_end_of_its_caller_ends_the_program(program: list[str], tmp_path: Path) -> None:
    """And what that has started; also one that has not read what it was sent."""
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ENDLESS!r}])"
    with running([*program, "run", "5", str(tmp_path), sys.executable, "-c", child]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) == 2
        process.stdin.close()
        assert process.wait(20) != 0
        assert psutil.wait_procs(below, timeout=20)[1] == []


def test_a_killed_steward_takes_the_program_along(program: list[str], tmp_path: Path) -> None:
    """The kernel sees to it."""
    with running([*program, "run", "5", str(tmp_path), sys.executable, "-c", ENDLESS]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        below = psutil.Process(process.pid).children()
        process.kill()
        assert psutil.wait_procs(below, timeout=20)[1] == []


def test_it_waits_while_something_runs_and_no_longer(program: list[str], tmp_path: Path) -> None:
    """One that is told no time waits for its SIGTERM."""
    with (
        running([*program, "wait", "1.5"]) as waiting,
        running([*program, "wait"]) as patient,
        running([*program, "run", "5", str(tmp_path), sys.executable, "-c", ENDLESS]) as busy,
    ):
        assert busy.stdout is not None
        assert busy.stdout.readline() == b"begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(4)
        assert busy.stdin is not None
        busy.stdin.close()
        assert waiting.wait(20) == 0
        assert patient.poll() is None
        patient.terminate()
        assert patient.wait(20) == 0


def test_a_program_that_reads_no_more_can_still_answer(program: list[str], tmp_path: Path) -> None:
    """What it was sent besides is dropped."""
    code = "import os, sys; os.close(0); print('begun', flush=True); import time; time.sleep(0.2); print('done')"
    with running([*program, "run", "5", str(tmp_path), sys.executable, "-c", code]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.stdin.write(b"x" * 2**20)
        process.stdin.flush()
        assert process.stdout.readline() == b"done\n"
        wait_until(lambda: process.poll() is not None, 20, "it has ended")


def test_what_comes_after_it_begins_on_a_word_alone(program: list[str]) -> None:
    """Neither its idleness nor its end by others lets the next container begin."""
    with (
        running([*program, "hold", "1"]) as idle,
        running([*program, "hold", "1000"]) as ended,
        running([*program, "hold", "1000"]) as told,
    ):
        assert idle.wait(20) == 1
        for process in (ended, told):
            wait_until(lambda process=process: _handles(process.pid, steward.GO), 20, "it listens")  # type: ignore[misc]
        ended.terminate()
        assert ended.wait(20) == 1
        told.send_signal(steward.GO)
        assert told.wait(20) == 0


def _handles(pid: int, number: int) -> bool:
    """Whether that process has a handler for that signal."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigCgt"], 16) >> (number - 1) & 1)
