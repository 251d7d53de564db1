"""Creating, listing, showing, editing and finding servers."""

from __future__ import annotations

import json

from unit.cli.conftest import Run
from unit.cli.stage import GAME, Reply, Stage, operation, page, problem, server

CREATED = {"Operation-Location": "/api/v1/operations/opbcdfghjkmn"}


def lay_create(stage: Stage, *operations: Reply) -> None:
    """A server that is made, and whose operation goes as given."""
    stage.lay("GET", "/games/luanti", Reply(GAME))
    stage.lay("POST", "/servers", Reply(server(state="pending", connect=None, endpoints=[]), 201, CREATED))
    stage.lay("GET", "/operations/opbcdfghjkmn", *operations)
    stage.lay("GET", "/servers/bcdfghjkmnpq", Reply(server()))


def test_create_waits_and_says_how_to_connect(stage: Stage, run: Run) -> None:
    """The variables go out typed, progress goes to standard error (each change once), the rest to standard output."""
    lay_create(stage, Reply(operation()), Reply(operation()), Reply(operation(outcome="succeeded")))
    result = run("create", "luanti", "meadow", "--set", "players=20", "--set", "pvp=off", "--memory-mib", "256")
    assert result.exit_code == 0, result.output
    assert stage.seen("POST", "/servers")[0].body == {
        "name": "meadow",
        "game": "luanti",
        "start": True,
        "variables": {"players": 20, "pvp": False},
        "memory_mib": 256,
    }
    assert result.stdout.splitlines() == [
        "meadow is running.",
        "In Luanti: Join Game, address 192.0.2.7, port 30000",
        "game: 192.0.2.7:30000/udp",
    ]
    assert result.stderr.splitlines()[:2] == ["meadow has the id bcdfghjkmnpq.", "create 2/4: Copying the world."]
    assert result.stderr.count("Copying the world.") == 1


def test_create_without_waiting(stage: Stage, run: Run) -> None:
    """--no-wait prints the server as it was accepted and asks nothing more."""
    lay_create(stage)
    result = run("create", "luanti", "meadow", "--no-wait", "--stopped", "-o", "json")
    assert json.loads(result.stdout)["state"] == "pending"
    assert [(request.method, request.path) for request in stage.requests] == [("POST", "/api/v1/servers")]
    assert stage.requests[0].body["start"] is False


def test_a_failed_create_is_1_with_its_reason(stage: Stage, run: Run) -> None:
    """The operation's own sentence is the detail; a program still gets the server, so that it knows the id."""
    lay_create(stage, Reply(operation(outcome="failed", message="The program luantiserver is missing.")))
    result = run("create", "luanti", "meadow")
    assert result.exit_code == 1
    assert "The program luantiserver is missing." in result.stderr
    assert result.stdout == ""
    result = run("create", "luanti", "meadow", "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["id"] == "bcdfghjkmnpq"


def test_wrong_variables_make_nothing(stage: Stage, run: Run) -> None:
    """A value of the wrong kind is found before anything is asked for."""
    lay_create(stage)
    result = run("create", "luanti", "meadow", "--set", "players=many")
    assert result.exit_code == 2
    assert "players: must be a whole number (integer 1..100)" in result.stderr
    assert stage.seen("POST", "/servers") == []


def test_the_list_is_aligned_and_whole_in_a_pipe(stage: Stage, run: Run) -> None:
    """Every column, one line a server, aligned by spaces, no colours, no tabs, no wrapping."""
    long = "a" * 63
    stage.lay(
        "GET",
        "/servers",
        page(server(), token="t"),
        page(server(id="x" * 12, name=long, state="failed", activity=None, endpoints=[])),
    )
    result = run("list", "--state", "running", "--state", "failed", "--game", "luanti")
    lines = result.stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "STATE", "GAME", "PLAYERS", "ADDRESS", "OWNER", "ID"],
        ["meadow", "running", "luanti", "2/15", "192.0.2.7:30000/udp", "ann", "bcdfghjkmnpq"],
        [long, "failed", "luanti", "-", "-", "ann", "x" * 12],
    ]
    assert len({line.index(word) for line, word in zip(lines, ("STATE", "running", "failed"), strict=True)}) == 1
    assert "\x1b" not in result.stdout
    assert stage.requests[0].query["state"] == ["running", "failed"]


def test_the_list_as_json_is_one_page(stage: Stage, run: Run) -> None:
    """However many pages the API needed, a program gets the items in one document of the API's shape."""
    stage.lay("GET", "/servers", page(server(), token="t"), page(server()))
    document = json.loads(run("list", "-o", "json").stdout)
    assert document == {"items": [server(), server()], "next_page_token": None}


def test_an_empty_list_prints_nothing_on_standard_output(stage: Stage, run: Run) -> None:
    """Nothing to list is a note, so that a pipe counts no lines."""
    stage.lay("GET", "/servers", page())
    result = run("list")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert "No servers." in result.stderr


def test_hostile_names_do_not_reach_the_terminal(stage: Stage, run: Run) -> None:
    """Escape sequences and markup in names are shown as plain text or not at all."""
    evil = server(
        name="\x1b[2J[bold red]x[/]\n\x9b5m", connect="\x1b]0;t\x07[link=x]", variables={"motd": "\x1b[31mno"}
    )
    stage.lay("GET", "/servers", page(evil))
    stage.lay("GET", "/servers/bcdfghjkmnpq", Reply(evil))
    for arguments in (
        ("list",),
        ("show", "bcdfghjkmnpq"),
        ("list", "-o", "json"),
        ("show", "bcdfghjkmnpq", "-o", "json"),
    ):
        output = run(*arguments).output
        assert "\x1b" not in output
        assert "\x9b" not in output
        assert "[bold red]x[/]" in output


def test_show_tells_everything(stage: Stage, run: Run) -> None:
    """Address, players, use, variables and conditions are all there."""
    stage.lay("GET", "/servers/bcdfghjkmnpq", Reply(server()))
    output = run("show", "bcdfghjkmnpq").stdout
    for words in (
        "192.0.2.7:30000/udp",
        "2/15",
        "sam, max",
        "3.2 % of a core",
        "motd:",
        "Players can join.",
        "512 MiB",
    ):
        assert words in output


def test_show_tells_what_a_server_in_a_cluster_has(stage: Stage, run: Run) -> None:
    """Storage, disk and network mode; on one machine, where there is no such choice, no line of them."""
    in_cluster = Reply(server(storage="disk", disk_mib=16384, network="direct"))
    # Each `show` asks twice: whether there is such a server, and for all of it.
    stage.lay("GET", "/servers/bcdfghjkmnpq", Reply(server()), Reply(server()), in_cluster)
    assert "storage" not in run("show", "bcdfghjkmnpq").stdout
    shown = [line.split() for line in run("show", "bcdfghjkmnpq").stdout.splitlines()]
    for pair in (["storage:", "disk"], ["disk:", "16", "GiB"], ["network:", "direct"]):
        assert pair in shown


def test_storage_disk_and_network_go_out_as_they_are_given(stage: Stage, run: Run) -> None:
    """Sizes in MiB; what was not given is left to the installation."""
    lay_create(stage)
    assert run("create", "luanti", "meadow", "--no-wait", "--disk", "16GiB", "--network", "direct").exit_code == 0
    asked = stage.seen("POST", "/servers")[0].body
    assert (asked["disk_mib"], asked["network"], "storage" in asked) == (16384, "direct", False)
    assert run("create", "luanti", "meadow", "--no-wait", "--storage", "share").exit_code == 0
    assert stage.seen("POST", "/servers")[1].body["storage"] == "share"
    assert run("create", "luanti", "meadow", "--disk", "16GB").exit_code == 2


def test_a_disk_that_grows_needs_no_restart(stage: Stage, run: Run) -> None:
    """So none is asked for, while other changes say that they wait for one."""
    stage.lay("GET", "/servers/bcdfghjkmnpq", Reply(server()))
    stage.lay("PATCH", "/servers/bcdfghjkmnpq", Reply(server()))
    result = run("edit", "bcdfghjkmnpq", "--disk", "16GiB")
    assert stage.seen("PATCH", "/servers/bcdfghjkmnpq")[0].body == {"disk_mib": 16384}
    assert "restart" not in result.output
    assert "restart" in run("edit", "bcdfghjkmnpq", "--disk", "16GiB", "--memory-mib", "512").output


def test_a_name_is_found_among_those_that_contain_it(stage: Stage, run: Run) -> None:
    """The API filters by what a name contains; only the very name is meant."""
    stage.lay("GET", "/servers", page(server(name="meadow-2", id="y" * 12), server()))
    stage.lay("GET", "/servers/bcdfghjkmnpq", Reply(server()))
    assert "bcdfghjkmnpq" in run("show", "meadow").stdout
    assert stage.requests[0].query["name"] == ["meadow"]


def test_a_name_of_several_lists_the_candidates(stage: Stage, run: Run) -> None:
    """An admin who names a server that two people have is shown both ids."""
    other = server(id="zzzzzzzzzzzz", owner={"id": "b", "name": "bob"})
    stage.lay("GET", "/servers", page(server(), other))
    result = run("stop", "meadow")
    assert result.exit_code == 2
    assert "bcdfghjkmnpq: luanti, of ann" in result.stderr
    assert "zzzzzzzzzzzz: luanti, of bob" in result.stderr
    assert stage.seen("POST", "/servers/bcdfghjkmnpq/stop") == []


def test_a_name_that_looks_like_an_id(stage: Stage, run: Run) -> None:
    """A name of twelve letters is first asked for as an id, then as a name."""
    stage.lay("GET", "/servers", page(server(name="abcdefghijkl")))
    stage.lay("GET", "/servers/bcdfghjkmnpq", Reply(server(name="abcdefghijkl")))
    assert run("show", "abcdefghijkl").exit_code == 0


def test_a_deleted_server_is_found_if_no_living_one_has_its_name(stage: Stage, run: Run) -> None:
    """undelete takes a name."""
    stage.lay("GET", "/servers", page(), page(server(state="deleted")))
    stage.lay("POST", "/servers/bcdfghjkmnpq/undelete", Reply(operation("undelete"), 202))
    assert run("undelete", "meadow", "--no-wait").exit_code == 0
    assert [request.query["deleted"] for request in stage.seen("GET", "/servers")] == [["false"], ["true"]]


def test_an_unknown_name_is_3(stage: Stage, run: Run) -> None:
    """Nothing of that name, living or deleted."""
    stage.lay("GET", "/servers", page())
    result = run("logs", "nowhere")
    assert result.exit_code == 3
    assert "There is no server nowhere" in result.stderr


def test_edit_sends_what_was_given_only(stage: Stage, run: Run) -> None:
    """Set, unset and memory go out as one edit; a running server's owner is told to restart it."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("GET", "/games/luanti", Reply(GAME))
    stage.lay("PATCH", "/servers/bcdfghjkmnpq", Reply(server(memory_mib=1024)))
    result = run("edit", "meadow", "--set", "players=3", "--unset", "motd", "--memory-mib", "1024")
    assert result.exit_code == 0, result.output
    assert stage.seen("PATCH", "/servers/bcdfghjkmnpq")[0].body == {
        "variables": {"motd": None, "players": 3},
        "memory_mib": 1024,
    }
    assert "overworld restart" in result.stderr


def test_somebody_elses_edit_is_1_and_says_what_to_do(stage: Stage, run: Run) -> None:
    """A stale edit is refused with its mend."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("PATCH", "/servers/bcdfghjkmnpq", problem(412, "precondition-failed", "Changed by somebody else"))
    result = run("edit", "meadow", "--name", "field")
    assert result.exit_code == 1
    assert "overworld show" in result.stderr
