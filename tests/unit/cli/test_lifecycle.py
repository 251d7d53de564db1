"""Start, stop, restart, delete, undelete, wait: handing over a wish and following it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from overworld.cli import waiting
from unit.cli.conftest import Run
from unit.cli.stage import Reply, Stage, operation, page, problem, server
from waiting import wait_until

PATH = "/servers/bcdfghjkmnpq"
OPERATION = "/operations/opbcdfghjkmn"


def lay_wish(stage: Stage, kind: str, *operations: Reply, **changes: object) -> None:
    """A server, and a wish whose operation goes as given."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", PATH, Reply(server(**changes)))
    stage.lay("POST", f"{PATH}/{kind}", Reply(operation(kind), 202))
    stage.lay("DELETE", PATH, Reply(operation(kind), 202))
    stage.lay("GET", OPERATION, *operations)


@pytest.mark.parametrize("kind", ["start", "stop", "restart", "undelete"])
def test_a_wish_is_followed_to_its_end(stage: Stage, run: Run, kind: str) -> None:
    """The command returns 0 when the operation has succeeded, not before."""
    lay_wish(stage, kind, Reply(operation(kind)), Reply(operation(kind)), Reply(operation(kind, "succeeded")))
    result = run(kind, "meadow")
    assert result.exit_code == 0, result.output
    assert len(stage.seen("GET", OPERATION)) == 3
    assert f"{kind} 2/4: Copying the world." in result.stderr


@pytest.mark.parametrize("outcome", ["failed", "aborted", "cancelled"])
def test_a_wish_that_does_not_succeed_is_1(stage: Stage, run: Run, outcome: str) -> None:
    """Every other outcome is a failure, with the operation on standard output for programs."""
    lay_wish(stage, "start", Reply(operation("start", outcome, message="Because.")))
    result = run("start", "meadow")
    assert result.exit_code == 1
    assert "Because." in result.stderr
    assert outcome in result.stderr
    result = run("start", "meadow", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (1, outcome)


def test_a_timeout_is_6_and_the_work_goes_on(stage: Stage, run: Run) -> None:
    """After --timeout the command ends and says how to follow the operation."""
    lay_wish(stage, "stop", Reply(operation("stop")))
    result = run("stop", "meadow", "--timeout", "0.05")
    assert result.exit_code == 6
    assert "The work goes on." in result.stderr
    assert "overworld wait --operation opbcdfghjkmn" in result.stderr


def test_an_outage_while_waiting_is_waited_out(stage: Stage, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the API in the middle of a wait does not end it; one that lasts does, saying how to go on."""
    from httpx_retries import Retry

    monkeypatch.setattr("overworld.cli.api.RETRY", Retry(total=0))
    lay_wish(
        stage, "stop", Reply(lose=True), problem(503, "unavailable", "Wait"), Reply(operation("stop", "succeeded"))
    )
    assert run("stop", "meadow").exit_code == 0
    monkeypatch.setattr(waiting, "LONGEST_OUTAGE_SECONDS", 0.0)
    stage.lay("GET", OPERATION, Reply(lose=True))
    run("stop", "meadow")
    result = run("stop", "meadow")
    assert result.exit_code == 5
    assert "overworld wait --operation opbcdfghjkmn" in result.stderr


@pytest.mark.parametrize("wish", ["start", "stop"])
def test_an_interruption_is_130_and_the_work_goes_on(
    stage: Stage, environment: dict[str, str | None], wish: str
) -> None:
    """Ctrl-C during a wait says that the work goes on and how to follow it and, if it can be, to call it off."""
    lay_wish(stage, wish, Reply(operation(wish)))
    process = subprocess.Popen(
        # A shell that starts the tests in the background lets them ignore Ctrl-C, and what is ignored is inherited.
        ["env", "--default-signal=INT", sys.executable, "-m", "overworld", wish, "meadow"],
        env={**os.environ, **{key: value for key, value in environment.items() if value is not None}},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: len(stage.seen("GET", OPERATION)) > 1, 20, "the command waits")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "The work goes on." in said
    assert "overworld wait --operation opbcdfghjkmn" in said
    assert ("overworld cancel opbcdfghjkmn" in said) == (wish == "start")
    assert "Traceback" not in said


def test_delete_asks_and_says_until_when(stage: Stage, run: Run) -> None:
    """Without --yes nobody but a person at a terminal can delete; the end of retention is in the answer."""
    lay_wish(stage, "delete", Reply(operation("delete", "succeeded")), purge_at="2126-01-09T03:00:00Z", state="deleted")
    assert run("delete", "meadow").exit_code == 2
    assert stage.seen("DELETE", PATH) == []
    result = run("delete", "meadow", "--yes", "--retention", "7d")
    assert result.exit_code == 0, result.output
    assert stage.seen("DELETE", PATH)[0].query == {"retention_seconds": ["604800"]}
    assert "Until 2126-01-09 03:00:00 UTC" in result.stdout


def test_wait_for_the_newest_operation(stage: Stage, run: Run) -> None:
    """wait SERVER follows what was asked of it last."""
    lay_wish(stage, "stop", Reply(operation("stop", "succeeded")))
    stage.lay("GET", "/operations", page(operation("stop"), token="more"))
    result = run("wait", "meadow")
    assert (result.exit_code, result.stdout) == (0, "The stop succeeded. It succeeded.\n")
    assert stage.seen("GET", "/operations")[0].query == {"server": ["bcdfghjkmnpq"], "page_size": ["1"]}


def test_wait_for_a_state(stage: Stage, run: Run) -> None:
    """wait --state returns when the server is seen in it, and 1 as soon as it has failed instead."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", PATH, Reply(server(state="starting")), Reply(server()), Reply(server(state="failed")))
    assert run("wait", "meadow", "--state", "running").exit_code == 0
    result = run("wait", "meadow", "--state", "running")
    assert result.exit_code == 1
    assert "overworld logs bcdfghjkmnpq" in result.stderr


def test_cancel(stage: Stage, run: Run) -> None:
    """An operation is called off by its id."""
    stage.lay("POST", f"{OPERATION}/cancel", Reply(operation("start", "cancelled")))
    assert run("cancel", "opbcdfghjkmn").stdout == "The start is cancelled.\n"
