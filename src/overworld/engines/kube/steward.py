"""The steward: a container of its own beside a game (or alone, where no game runs) that has the world and no other
right. It waits, and runs programs there for somebody outside. One file, standard library only: it is copied into the
image.

    steward.py wait [SECONDS]            its first process; ends when asked to, or after so long without a program
    steward.py hold SECONDS              the same, but it fails, so that what comes after it does not begin; unless it
                                         is told to go
    steward.py go | end                  tells the first process to go, asks it to end
    steward.py run GRACE FOLDER PROGRAM ...
                                         PROGRAM in FOLDER, for as long as standard input stays open; then it has GRACE
                                         seconds to end

Kubernetes leaves a program that was started by ``exec`` running when its caller dies; what the program can see of that
is the end of its standard input. So the caller keeps it open until it has its answer, and its end ends the program.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from typing import NoReturn

IN_USE = "/tmp/steward"  # noqa: S108 (the container's own)
"""Locked by every program that runs; its time of change is when the last one ended."""
LOOK_SECONDS = 1.0
EOF_SECONDS = 1.0
"""For a program that reads its standard input to end by itself, and to say why."""
CHUNK = 256 * 1024
PR_SET_PDEATHSIG = 1
GO = signal.SIGUSR1


def wait(seconds: float | None) -> None:
    """Returns once nothing ran here for so long (None: never). Nothing can be begun any more then."""
    lock = os.open(IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    used_at = time.time()
    while seconds is None or time.time() - used_at < seconds:
        time.sleep(LOOK_SECONDS)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            used_at = time.time()
            continue
        used_at = max(used_at, os.fstat(lock).st_mtime)
        if seconds is None or time.time() - used_at < seconds:
            fcntl.flock(lock, fcntl.LOCK_UN)


def run(grace_seconds: float, folder: str, program: list[str]) -> int:
    """The program's exit status. It is asked to end when standard input does, then killed with all that it started."""
    lock = os.open(IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    libc = ctypes.CDLL(None)
    process = subprocess.Popen(
        program,
        cwd=folder,
        stdin=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL)),  # noqa: PLW1509 (no thread runs yet)
    )
    threading.Thread(target=_feed, args=(process, grace_seconds), daemon=True).start()
    status = process.wait()
    os.utime(lock)
    return status


def _feed(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    assert process.stdin is not None
    is_read = True
    while data := os.read(0, CHUNK):
        try:
            while is_read and data:
                data = data[os.write(process.stdin.fileno(), data) :]
        except BrokenPipeError:  # it wants no more, but may still have something to say
            is_read = False
    process.stdin.close()
    for number, seconds in ((0, EOF_SECONDS), (signal.SIGTERM, grace_seconds), (signal.SIGKILL, 0.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        time.sleep(seconds)


def main() -> NoReturn:
    match sys.argv[1:]:
        case ["wait", *seconds] if len(seconds) < 2:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            wait(float(seconds[0]) if seconds else None)
            raise SystemExit(0)
        case ["hold", seconds]:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            signal.signal(GO, lambda *_: sys.exit(0))
            wait(float(seconds))
            raise SystemExit(1)
        case ["go" | "end" as word]:
            os.kill(1, GO if word == "go" else signal.SIGTERM)
            raise SystemExit(0)
        case ["run", grace, folder, *program] if program:
            raise SystemExit(abs(run(float(grace), folder, program)))
        case _:
            sys.stderr.write(
                "usage: steward.py wait [SECONDS] | hold SECONDS | go | end | run GRACE FOLDER PROGRAM ...\n"
            )
            raise SystemExit(2)


if __name__ == "__main__":
    main()
