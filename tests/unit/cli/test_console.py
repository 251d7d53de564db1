"""logs and console: streams that resume, commands that are sent once, output that is safe."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from overworld.cli import attach
from overworld.cli.api import Api
from overworld.cli.config import Target
from overworld.cli.errors import NotAllowed, NotFound, Refused, Unreachable
from overworld.cli.stream import follow_console
from unit.cli.conftest import Run
from unit.cli.stage import TOKEN, Reply, Request, Stage, events, line, page, problem, server
from unit.cli.terminal import run_at_terminal

CONSOLE = "/servers/bcdfghjkmnpq/console"


@pytest.fixture
def api(stage: Stage) -> Iterator[Api]:
    """The API of the stage."""
    with Api(Target(stage.url, "a test", TOKEN, "a test")) as opened:
        yield opened


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    """Keeps streams open until the test ends."""
    event = threading.Event()
    yield event
    event.set()


def test_a_stream_resumes_after_the_last_line(stage: Stage, api: Api) -> None:
    """Whether the connection breaks or ends, the next one begins after the last line seen; pauses grow meanwhile, and
    an outage is told once."""
    stage.lay(
        "GET", CONSOLE, events(line(1, "a"), line(2, "b")), Reply(lose=True), Reply(lose=True), events(line(3, "c"))
    )
    pauses: list[float] = []
    breaks: list[str] = []
    lines = follow_console(api, "bcdfghjkmnpq", after=None, on_break=breaks.append, pause=pauses.append)
    assert [each["text"] for each in islice(lines, 3)] == ["a", "b", "c"]
    asked = [request.headers.get("last-event-id") for request in stage.seen("GET", CONSOLE)]
    assert asked == [None, "l2", "l2", "l2"]
    assert pauses == [0.5, 1.0, 2.0]
    assert breaks == [
        "The stream ended; connecting again.",
        f"Overworld cannot be reached at {stage.url}; trying again.",
    ]


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (Reply(lose=True), Unreachable),
        (problem(404, "not-found", "Not found"), NotFound),
        (Reply({"lines": []}), Refused),
        (Reply(raw=b"data: [1]\n\n", headers={"Content-Type": "text/event-stream"}), Refused),
    ],
)
def test_a_stream_that_cannot_begin_fails(stage: Stage, api: Api, reply: Reply, failure: type[Exception]) -> None:
    """A first connection that cannot be made, or is no stream of lines, is a failure."""
    stage.lay("GET", CONSOLE, reply)
    with pytest.raises(failure):
        next(follow_console(api, "bcdfghjkmnpq", after=None, on_break=print, pause=lambda _: pytest.fail("no pause")))


def test_a_stream_that_loses_its_right_fails(stage: Stage, api: Api) -> None:
    """The event ``end``, and a refusal on the way back, end the stream instead of asking for ever."""
    end = b'event: end\ndata: {"reason": "Access to this server has ended."}\n\n'
    stage.lay("GET", CONSOLE, Reply(raw=end, headers={"Content-Type": "text/event-stream"}))
    with pytest.raises(NotAllowed) as caught:
        next(follow_console(api, "bcdfghjkmnpq", after=None, on_break=print))
    assert "Access to this server has ended." in caught.value.detail


def test_logs_are_stripped_in_a_pipe(stage: Stage, run: Run) -> None:
    """The newest lines, oldest first, without a single control character."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", CONSOLE, Reply({"lines": [line(1, "\x1b[31mred\x1b[0m"), line(2, "\x1b]0;t\x07two")]}))
    assert run("logs", "meadow", "-n", "2").stdout == "red\ntwo\n"
    assert run("logs", "meadow", "-n", "1", "-t").stdout == "2026-01-02 03:04:05  two\n"
    assert run("logs", "meadow", "-n", "0").stdout == ""
    assert json.loads(run("logs", "meadow", "-o", "json").stdout)["lines"][1]["id"] == "l2"


def test_logs_follow_where_the_first_lines_end(stage: Stage, run: Run) -> None:
    """-f goes on after the last of the first lines; a refusal ends it with its exit status."""
    stage.lay("GET", "/servers", page(server()))

    def answer(request: Request) -> Reply:
        if request.headers["accept"] != "text/event-stream":
            return Reply({"lines": [line(1, "one")]})
        if request.headers["last-event-id"] == "l1":
            return events(line(2, "two"))
        return problem(404, "not-found", "Not found")

    stage.lay("GET", CONSOLE, answer)
    result = run("logs", "-f", "meadow")
    assert result.stdout == "one\ntwo\n"
    assert result.exit_code == 3


def test_console_in_a_pipe(stage: Stage, run: Run, hold: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is a command, sent once and in order; answers are printed; it ends when nothing more comes."""
    monkeypatch.setattr(attach, "SILENCE_SECONDS", 0.3)
    stage.lay("GET", "/servers", page(server()))

    def answer(request: Request) -> Reply:
        if request.headers["accept"] != "text/event-stream":
            return Reply({"lines": [line(1, "old")]})
        return events(line(2, "\x1b[32mdone"), hold=hold)

    stage.lay("GET", CONSOLE, answer)
    stage.lay("POST", CONSOLE, Reply(status=204, raw=b""))
    result = run("console", "meadow", input="save\n\n  \nsay hi\r\n")
    assert (result.exit_code, result.stdout) == (0, "done\n")
    assert [request.body for request in stage.seen("POST", CONSOLE)] == [{"command": "save"}, {"command": "say hi"}]


def test_a_refused_command_in_a_pipe_is_1(stage: Stage, run: Run, hold: threading.Event) -> None:
    """A script learns that its command was not taken, and sends no further one."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay(
        "GET",
        CONSOLE,
        lambda request: events(hold=hold) if "stream" in request.headers["accept"] else Reply({"lines": []}),
    )
    stage.lay("POST", CONSOLE, problem(409, "conflict", "Not possible right now", "It is stopped."))
    result = run("console", "meadow", input="save\nsave\n")
    assert result.exit_code == 1
    assert "It is stopped." in result.stderr
    assert len(stage.seen("POST", CONSOLE)) == 1


def test_console_at_a_terminal(
    stage: Stage, environment: dict[str, str | None], hold: threading.Event, tmp_path: Path
) -> None:
    """Output above the line with its colours and without its tricks; commands, history, a refusal, and Ctrl-D."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", CONSOLE, events(line(1, "\x1b[32mgreen\x1b[0m \x1b]0;evil\x07word"), hold=hold))
    stage.lay(
        "POST",
        CONSOLE,
        Reply(status=204, raw=b""),
        Reply(status=204, raw=b""),
        problem(409, "conflict", "Not possible", "It is stopped."),
    )
    with run_at_terminal("console", "meadow", env=environment) as terminal:
        terminal.wait_for("meadow>")
        terminal.wait_for("\x1b[32mgreen")
        assert "evil" not in terminal.screen
        terminal.type("save\r")
        wait_for_posts(stage, terminal, 1)
        terminal.type("\x1b[A\r")  # the key up: the command before
        wait_for_posts(stage, terminal, 2)
        terminal.type("stop\r")
        terminal.wait_for("It is stopped.")
        terminal.type("half\x03\x04")
        assert terminal.wait_for_end() == 0
    assert [request.body["command"] for request in stage.seen("POST", CONSOLE)] == ["save", "save", "stop"]
    history = tmp_path / "state" / "overworld" / "console" / "bcdfghjkmnpq"
    assert "+save" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_a_terminal_console_whose_right_ends(stage: Stage, environment: dict[str, str | None]) -> None:
    """When the stream may not go on, the prompt ends too, with the failure and its exit status."""
    end = b': open\n\nevent: end\ndata: {"reason": "Access to this server has ended."}\n\n'
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", CONSOLE, Reply(raw=end, headers={"Content-Type": "text/event-stream"}))
    with run_at_terminal("console", "meadow", env=environment) as terminal:
        assert terminal.wait_for_end() == 4
        assert "Access to this server has ended." in terminal.screen


def wait_for_posts(stage: Stage, terminal: object, number: int) -> None:
    """Until that many commands have arrived, the terminal being read meanwhile so that its program can write."""
    from unit.cli.terminal import Terminal
    from waiting import wait_until

    assert isinstance(terminal, Terminal)
    terminal.wait_for("meadow>")
    wait_until(lambda: len(stage.seen("POST", CONSOLE)) >= number, 20, f"{number} commands")
