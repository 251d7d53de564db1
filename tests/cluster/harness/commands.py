"""Run a program of the operating system, or say what it said."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class CommandFailed(Exception):
    """A program ended badly; the message holds its command and its last words."""


def run(command: Sequence[str], *, stdin: str = "", timeout_seconds: float = 60) -> str:
    """The output of ``command``. Raises CommandFailed when it is missing, ends badly or takes too long."""
    try:
        done = subprocess.run(
            list(command), input=stdin, capture_output=True, text=True, check=False, timeout=timeout_seconds
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"{command[0]} is not installed: scripts/setup-cluster installs it") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(command)}: not finished within {timeout_seconds} s") from error
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
