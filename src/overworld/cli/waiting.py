"""Waiting for long work while showing how far it is. The work is the server's: whatever happens here, it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import click

from overworld.cli.api import Json, api_path
from overworld.cli.errors import Interrupted, Refused, TimedOut, Unreachable
from overworld.cli.session import Session
from overworld.cli.times import DURATION
from overworld.cli.ui import Progress, show_progress

F = TypeVar("F", bound=Callable[..., Any])

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
LONGEST_OUTAGE_SECONDS = 60.0
CANCELLABLE = {"create", "start", "save", "restore", "clone", "check", "drill", "upload"}
OF_SAVES = {"save", "restore", "clone", "check", "drill", "forget", "upload"}
"""Kinds of operations of which what the game printed tells little."""


def wait_options(command: F) -> F:
    """Give a command ``--wait/--no-wait`` and ``--timeout``."""
    for option in (
        click.option("--timeout", type=DURATION, help="Wait no longer than this, for example 90s; the work goes on."),
        click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is done."),
    ):
        command = option(command)
    return command


def follow_operation(session: Session, operation_id: str, timeout: timedelta | None) -> Json:
    """The operation once it has ended, whatever its outcome.

    Raises ``TimedOut``, ``Interrupted`` (Ctrl-C) or ``Unreachable`` (no answer for a minute); each says how to follow
    the work further.
    """
    path = api_path("operations", operation_id)
    follow = f"overworld wait --operation {operation_id}"

    kind = ""

    def look(progress: Progress) -> Json | None:
        nonlocal kind
        seen = session.api.get(path)
        kind = seen["kind"]
        step = seen.get("progress") or {}
        progress.say(f"{seen['kind']} {step.get('done', 0)}/{step.get('of', 0)}: {step.get('message', '')}")
        return seen if seen["outcome"] != "running" else None

    try:
        return _wait(session, look, timeout, follow)
    except Interrupted as error:
        if kind in CANCELLABLE:
            error.mend += f" Call it off with `overworld cancel {operation_id}`."
        raise


def require_success(operation: Json) -> None:
    """Raises ``Refused`` with the operation's own reason unless it succeeded."""
    if operation["outcome"] != "succeeded":
        if operation["outcome"] == "cancelled":
            mend = ""
        elif operation["kind"] in OF_SAVES:
            mend = f"`overworld events {operation['server_id']}` tells more."
        else:
            mend = f"`overworld show {operation['server_id']}` and `overworld logs {operation['server_id']}` tell more."
        was = "was " if operation["outcome"] in {"aborted", "cancelled"} else ""
        raise Refused(
            f"The {operation['kind']} {was}{operation['outcome']}",
            operation.get("message") or operation.get("reason") or "",
            mend=mend,
        )


def wait_for_state(session: Session, server: Json, state: str, timeout: timedelta | None) -> Json:
    """The server once it is in ``state``. Raises as ``follow_operation``, and ``Refused`` if it fails instead."""
    path = api_path("servers", server["id"])

    def look(progress: Progress) -> Json | None:
        seen = session.api.get(path)
        ready = next((each for each in seen["conditions"] if each["type"] == "Ready"), None)
        progress.say(f"{seen['state']}: {ready['message']}" if ready else str(seen["state"]))
        if seen["state"] == state:
            return seen
        if seen["state"] == "failed":
            raise Refused(
                f"{seen['name']} failed",
                ready["message"] if ready else "",
                mend=f"`overworld logs {seen['id']}` shows its last words.",
            )
        return None

    return _wait(session, look, timeout, f"overworld wait {server['id']} --state {state}")


def _wait(session: Session, look: Callable[[Progress], Json | None], timeout: timedelta | None, follow: str) -> Json:
    give_up_at = None if timeout is None else time.monotonic() + timeout.total_seconds()
    answered_at = time.monotonic()
    pause = FIRST_PAUSE_SECONDS
    with _tells_how_to_go_on(follow), show_progress(quiet=session.as_json) as progress:
        while True:
            try:
                seen = look(progress)
                answered_at = time.monotonic()
            except Unreachable:
                if time.monotonic() - answered_at > LONGEST_OUTAGE_SECONDS:
                    raise
                seen = None
                progress.say("Overworld does not answer; trying again.")
            if seen is not None:
                return seen
            left = LONGEST_PAUSE_SECONDS if give_up_at is None else give_up_at - time.monotonic()
            if left <= 0:
                raise TimedOut("Not finished in time", "The work goes on.", mend=f"Follow it with `{follow}`.")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


@contextmanager
def _tells_how_to_go_on(follow: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Interrupted", "The work goes on.", mend=f"Follow it with `{follow}`.") from None
    except Unreachable as error:
        error.mend = f"The work goes on. Follow it with `{follow}`. {error.mend}"
        raise
