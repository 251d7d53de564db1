"""The command line and the API agree: every command against the real application, controller and database."""

from __future__ import annotations

import json
from typing import Any

from integration.cli.conftest import Overworld, Run


def json_of(run: Run, *arguments: str, **given: Any) -> Any:
    """What a command prints for programs; it has to succeed."""
    result = run(*arguments, "-o", "json", **given)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def succeed(run: Run, *arguments: str, **given: Any) -> str:
    """What a command prints; it has to succeed."""
    result = run(*arguments, **given)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_the_life_of_a_server(run: Run) -> None:
    """From create to undelete, each command waits until it is so, and says what is."""
    created = succeed(run, "create", "luanti", "meadow", "--timeout", "60")
    assert "meadow is running." in created
    assert "192.0.2.7" in created
    server = json_of(run, "show", "meadow")
    assert server["state"] == "running"
    assert server["id"] in succeed(run, "list", "--state", "running", "--game", "luanti")
    assert "Ready" in succeed(run, "show", server["id"])

    assert "succeeded" in succeed(run, "stop", "meadow", "--timeout", "60")
    assert json_of(run, "wait", "meadow", "--state", "stopped", "--timeout", "60")["state"] == "stopped"
    assert json_of(run, "start", "meadow", "--timeout", "60")["outcome"] == "succeeded"
    assert "meadow is running." in succeed(run, "restart", "meadow", "--timeout", "60")
    assert "succeeded" in succeed(run, "wait", "meadow")

    assert "brings it back" in succeed(run, "delete", "meadow", "--yes", "--retention", "1h", "--timeout", "60")
    assert json_of(run, "list")["items"] == []
    assert [each["name"] for each in json_of(run, "list", "--deleted")["items"]] == ["meadow"]
    assert "undelete succeeded" in succeed(run, "undelete", "meadow", "--timeout", "60")
    kinds = [each["kind"] for each in json_of(run, "operations", "meadow")["items"]]
    assert kinds == ["undelete", "save", "delete", "restart", "start", "stop", "create"]
    assert "create" in succeed(run, "operations")
    for retention in ("1h", "0"):
        said = succeed(run, "delete", server["id"], "--yes", "--retention", retention, "--timeout", "60")
    assert said == "meadow is deleted for good.\n"


def test_revisions_of_a_configuration(run: Run) -> None:
    """Listed, shown, compared and brought back; a secret is never printed."""
    succeed(run, "create", "luanti", "meadow", "--no-wait", "--set", "motd=one")
    succeed(run, "edit", "meadow", "--set", "motd=two", "--set", "password=hunter2", "--memory-mib", "1024")
    assert "memory_mib, variables.motd, variables.password" in succeed(run, "config", "list", "meadow")
    shown = succeed(run, "config", "show", "meadow") + succeed(run, "config", "diff", "meadow")
    assert "hunter2" not in shown
    assert "(secret)" in shown
    assert "two" in shown
    assert "It is the first" in run("config", "diff", "meadow", "1").stderr
    assert "Revision 3 is what revision 1 was" in succeed(run, "config", "restore", "meadow", "1", "--yes")
    assert json_of(run, "show", "meadow")["variables"]["motd"] == "one"
    assert "Nothing differs" in succeed(run, "config", "restore", "meadow", "1", "--yes")
    refused = run("config", "restore", "meadow", "9", "--yes")
    assert refused.exit_code == 3
    assert "revision" in refused.stderr


def test_console_and_logs(run: Run) -> None:
    """A command reaches the game, and what it answers is printed; a stopped one refuses it."""
    succeed(run, "create", "luanti", "meadow", "--timeout", "60")
    answered = succeed(run, "console", "meadow", input="hello there\n")
    assert "hello there" in answered
    lines = json_of(run, "logs", "meadow", "-n", "1000")["lines"]
    assert any("hello there" in line["text"] for line in lines)
    assert succeed(run, "logs", "meadow", "-n", "1") == lines[-1]["text"] + "\n"
    succeed(run, "stop", "meadow", "--timeout", "60")
    refused = run("console", "meadow", input="hello\n")
    assert refused.exit_code == 1
    assert "start it" in refused.stderr


def test_games_variables_and_edits(run: Run) -> None:
    """Values are typed by the catalogue; what the API refuses is printed with its place."""
    games = json_of(run, "games")["items"]
    assert "luanti" in succeed(run, "games")
    game = next(each for each in games if each["slug"] == "luanti")
    assert json_of(run, "games", "luanti") == game
    shown = succeed(run, "games", "luanti")
    assert all(variable["name"] in shown for variable in game["variables"])

    number = next(each for each in game["variables"] if each["kind"] == "integer")
    name, most = number["name"], number["maximum"]
    created = json_of(run, "create", "luanti", "meadow", "--stopped", "--set", f"{name}={most}", "--timeout", "60")
    assert created["variables"][name] == most
    refused = run("edit", "meadow", "--set", f"{name}={most + 1}")
    assert refused.exit_code == 1
    assert f"/variables/{name}" in refused.stderr
    edited = json_of(run, "edit", "meadow", "--unset", name, "--name", "field")
    assert (edited["name"], edited["variables"][name]) == ("field", number["default"])


def test_refusals(run: Run, overworld: Overworld) -> None:
    """A quota is 1, what one may not see is 3, what only admins may is 4, and so is a token that is none."""
    for name in ("one", "two"):
        succeed(run, "create", "luanti", name, "--stopped", "--no-wait")
    over = run("create", "luanti", "three", "--no-wait")
    assert over.exit_code == 1
    assert "quota" in over.stderr
    theirs = json_of(run, "create", "luanti", "theirs", "--stopped", "--no-wait", token=overworld.admin)
    assert run("show", theirs["id"]).exit_code == 3
    assert run("show", "theirs").exit_code == 3
    assert run("games", "nothing").exit_code == 3
    assert run("accounts", "create", "bob").exit_code == 4
    wrong = overworld.user[:-1] + ("x" if overworld.user[-1] != "x" else "y")
    refused = run("list", token=wrong)
    assert refused.exit_code == 4
    assert wrong not in refused.output
    assert run("create", "luanti", "", "--no-wait").exit_code == 1


def test_a_name_of_two_owners(run: Run, overworld: Overworld) -> None:
    """An admin has to say whose server is meant; its owner has not."""
    for token in (overworld.user, overworld.admin):
        succeed(run, "create", "luanti", "meadow", "--stopped", "--no-wait", token=token)
    ambiguous = run("show", "meadow", token=overworld.admin)
    assert ambiguous.exit_code == 2
    assert "of ann" in ambiguous.stderr
    assert json_of(run, "show", "meadow")["owner"]["name"] == "ann"


def test_events_and_usage(run: Run) -> None:
    """What happened is listed with the newest last, for one server and for all; usage has its shapes."""
    succeed(run, "create", "luanti", "meadow", "--timeout", "60")
    events = json_of(run, "events", "meadow")["items"]
    assert [each["id"] for each in events] == sorted(each["id"] for each in events)
    assert json_of(run, "events")["items"] == events
    assert events[-1]["message"] in succeed(run, "events", "-n", "500")
    assert "items" in json_of(run, "usage")
    assert "history" in json_of(run, "usage", "meadow", "--since", "1h")
    succeed(run, "usage")
    succeed(run, "usage", "meadow")


def test_accounts_and_tokens(run: Run, overworld: Overworld) -> None:
    """An admin makes an account and its token; the token works until it is revoked or the account disabled."""
    admin = overworld.admin
    account = json_of(run, "accounts", "create", "bob", "--servers", "1", "--memory-mib", "512", token=admin)
    issued = json_of(run, "token", "create", "ci", "--account", account["id"], "--lifetime", "1d", token=admin)
    assert "bob" in succeed(run, "accounts", "show", token=issued["token"])
    edited = json_of(run, "accounts", "edit", account["id"], "--servers", "5", token=admin)
    assert edited["quota"] == {"servers": 5, "memory_mib": 512}
    assert "bob" in succeed(run, "accounts", "list", token=admin)
    assert issued["id"] in succeed(run, "token", "list", token=issued["token"])
    succeed(run, "accounts", "edit", account["id"], "--disable", token=admin)
    assert run("list", token=issued["token"]).exit_code == 4
    succeed(run, "accounts", "edit", account["id"], "--enable", token=admin)
    succeed(run, "token", "revoke", issued["id"], token=issued["token"])
    assert run("list", token=issued["token"]).exit_code == 4


def test_login_and_doctor(run: Run, overworld: Overworld) -> None:
    """What login keeps is what the doctor finds well."""
    assert "You are ann" in succeed(run, "login", overworld.url, input=overworld.user + "\n")
    found = {item["check"]: item for item in json_of(run, "doctor")["items"]}
    assert {item["severity"] for item in found.values()} == {"ok"}, found


def test_a_cancelled_start(run: Run) -> None:
    """An operation that has ended cannot be called off."""
    succeed(run, "create", "luanti", "meadow", "--stopped", "--timeout", "60")
    newest = json_of(run, "operations", "meadow")["items"][0]
    assert run("cancel", newest["id"]).exit_code == 1
    assert run("cancel", "nothing").exit_code == 3
