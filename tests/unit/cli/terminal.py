"""The program at a real terminal: a pseudo-terminal whose other end the test holds."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import struct
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from subprocess import Popen

from waiting import wait_until


class Terminal:
    """A running program. ``screen`` is everything that it wrote so far."""

    def __init__(self, process: Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.screen = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        """Until ``text`` was written."""
        wait_until(lambda: self._read() or text in self.screen, 30, f"{text!r} on {self.screen!r}")

    def wait_for_end(self) -> int:
        """The exit status."""
        wait_until(lambda: self._read() or self.process.poll() is not None, 30, f"an end after {self.screen!r}")
        self._read()
        return self.process.returncode

    def _read(self) -> bool:
        while select.select([self._descriptor], [], [], 0)[0]:
            try:
                data = os.read(self._descriptor, 65536)
            except OSError as error:  # Linux's word for a terminal whose program has gone
                if error.errno != errno.EIO:
                    raise
                return False
            if not data:
                return False
            self.screen += data.decode(errors="replace")
            if "\x1b[6n" in data.decode(errors="replace"):
                os.write(self._descriptor, b"\x1b[1;1R")  # where the cursor is, which line editors ask
        return False


@contextmanager
def run_at_terminal(*arguments: str, env: Mapping[str, str | None], columns: int = 100) -> Iterator[Terminal]:
    """``overworld`` with those arguments at a terminal of that width; ended with the block."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", **{k: v for k, v in env.items() if v is not None}}
    for name in [key for key, value in env.items() if value is None] + ["COLUMNS", "LINES", "CI", "GITHUB_ACTIONS"]:
        environment.pop(name, None)
    process = Popen(
        [sys.executable, "-m", "overworld", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
