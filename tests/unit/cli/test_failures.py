"""Every exit status, and what is printed with it."""

from __future__ import annotations

import json

import pytest

from unit.cli.conftest import Run
from unit.cli.stage import TOKEN, Reply, Stage, page, problem, server


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (problem(404, "not-found", "Not found"), 3),
        (problem(401, "not-authenticated", "Who are you?"), 4),
        (problem(403, "not-allowed", "Not allowed"), 4),
        (problem(403, "quota-exceeded", "Over the account's quota"), 1),
        (problem(409, "conflict", "Not possible right now"), 1),
        (problem(422, "bad-input", "The request says something that cannot be"), 1),
        (problem(500, "internal", "Something went wrong inside Overworld"), 1),
        (Reply(raw=b"hello", status=200), 5),
    ],
)
def test_each_refusal_has_its_exit_status(stage: Stage, run: Run, reply: Reply, status: int) -> None:
    """The statuses of docs/cli.md, by what the API answers."""
    stage.lay("GET", "/games/luanti", reply)
    assert run("games", "luanti").exit_code == status


def test_a_part_that_does_not_answer_is_5(stage: Stage, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 counts as not reached, after the retries."""
    from httpx_retries import Retry

    monkeypatch.setattr("overworld.cli.api.RETRY", Retry(total=1))
    stage.lay("GET", "/games/luanti", problem(503, "unavailable", "A part of Overworld does not answer"))
    assert run("games", "luanti").exit_code == 5
    assert len(stage.requests) == 2


def test_a_problem_is_printed_whole(stage: Stage, run: Run) -> None:
    """Title, detail, each error with its place, what to do, and the request's id, all on standard error."""
    stage.lay(
        "GET",
        "/games/luanti",
        problem(
            403,
            "quota-exceeded",
            "Over the account's quota",
            "It may own 2 servers.",
            errors=[{"at": "/variables/motd", "says": "is too long"}],
        ),
    )
    result = run("games", "luanti")
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "Error: Over the account's quota",
        "  It may own 2 servers.",
        "  /variables/motd: is too long",
        "What to do: Delete a server that is not needed any more, or ask an admin for a larger quota.",
        "Request: req-1",
    ]


def test_a_problem_as_json_is_the_document(stage: Stage, run: Run) -> None:
    """A program gets the API's own problem document."""
    stage.lay("GET", "/games/luanti", problem(404, "not-found", "Not found", "No such game."))
    result = run("games", "luanti", "-o", "json")
    assert json.loads(result.stderr)["type"] == "/docs/problems/not-found"


def test_hostile_problems_do_not_reach_the_terminal(stage: Stage, run: Run) -> None:
    """Titles, details and errors are stripped of control characters."""
    stage.lay(
        "GET",
        "/games/luanti",
        problem(409, "conflict", "a\x1b[2Jb", "c\x9b31md\ne", errors=[{"at": "\x1b]0;x\x07f", "says": "\x08g"}]),
    )
    result = run("games", "luanti")
    assert result.stderr.splitlines()[:4] == ["Error: ab", "  cd", "  e", "  f: g"]


@pytest.mark.parametrize("document", [{"title": 7, "errors": 3}, {"title": "x", "errors": [1, {"at": None}]}])
def test_malformed_problems_are_printed_all_the_same(stage: Stage, run: Run, document: dict[str, object]) -> None:
    """A problem document with members of wrong types is no reason for a traceback."""
    stage.lay("GET", "/games/luanti", Reply(document, 409))
    assert run("games", "luanti").exit_code == 1


def test_no_address_reached_is_5(run: Run) -> None:
    """A closed port says which address, where it comes from, and what to do."""
    result = run("accounts", "create", "ann", "--servers", "1", env={"OVERWORLD_URL": "http://127.0.0.1:9"})
    assert result.exit_code == 2  # half a quota is noticed before anything is sent
    result = run("token", "create", "x", env={"OVERWORLD_URL": "http://127.0.0.1:9"})
    assert result.exit_code == 5
    assert "http://127.0.0.1:9" in result.stderr
    assert "OVERWORLD_URL" in result.stderr
    assert "overworld doctor" in result.stderr


def test_no_token_is_4_and_sends_nothing(stage: Stage, run: Run) -> None:
    """Without a token nothing is asked."""
    result = run("list", env={"OVERWORLD_TOKEN": None})
    assert result.exit_code == 4
    assert "overworld login" in result.stderr
    assert stage.requests == []


def test_a_token_that_cannot_be_one_is_2_and_not_shown(stage: Stage, run: Run) -> None:
    """A token with a line end in it would break out of its header; it is refused and not repeated."""
    result = run("list", env={"OVERWORLD_TOKEN": f"{TOKEN}\nX-Evil: 1"})
    assert result.exit_code == 2
    assert TOKEN not in result.output
    assert stage.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("list", "--state", "fine"),
        ("create", "luanti"),
        ("edit", "meadow"),
        ("wait",),
        ("wait", "meadow", "--operation", "x"),
        ("stop", "meadow", "--timeout", "soon"),
        ("accounts", "edit", "x"),
        ("completion", "powershell"),
    ],
)
def test_wrong_command_lines_are_2(stage: Stage, run: Run, arguments: tuple[str, ...]) -> None:
    """Whatever cannot work as typed changes nothing and says so."""
    from unit.cli.stage import page, server

    stage.lay("GET", "/servers", page(server()))
    assert run(*arguments).exit_code == 2
    assert {request.method for request in stage.requests} <= {"GET"}


def test_what_the_detail_says_is_not_said_again(stage: Stage, run: Run) -> None:
    """The first error is the detail's own; the others are listed."""
    errors = [{"at": "/name", "says": "is too long"}, {"at": "/game", "says": "is too long"}]
    stage.lay("GET", "/games/luanti", problem(422, "bad-input", "It cannot be", "The name is too long.", errors=errors))
    assert run("games", "luanti").stderr.splitlines()[:3] == [
        "Error: It cannot be",
        "  The name is too long.",
        "  /game: is too long",
    ]


@pytest.mark.parametrize(
    ("words", "method", "path", "reply", "mend"),
    [
        (("rm", "meadow", "a"), "DELETE", "", problem(409, "conflict", "No", "x", reason="not-empty"), "--recursive"),
        (("put", "meadow", __file__, "a/"), "PUT", "/content", problem(404, "not-found", "No"), "files mkdir"),
        (
            ("put", "meadow", __file__, "a", "--new"),
            "PUT",
            "/content",
            problem(412, "precondition-failed", "No", "a is there already.", reason="changed"),
            "",
        ),
    ],
)
def test_a_refusal_about_a_file_says_what_helps(
    stage: Stage, run: Run, words: tuple[str, ...], method: str, path: str, reply: Reply, mend: str
) -> None:
    """The next command, or nothing where the detail says it all: never how to mend something else."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay(method, f"/servers/bcdfghjkmnpq/files{path}", reply)
    result = run("files", *words)
    assert result.exit_code in {1, 3}
    assert mend in result.stderr
    assert ("What to do" in result.stderr) == bool(mend)
