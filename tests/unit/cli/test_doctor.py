"""What the doctor finds, over HTTP and handed in."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from overworld.cli.doctor import Check, Finding, Severity
from overworld.cli.main import build_cli
from unit.cli.conftest import Run
from unit.cli.stage import TOKEN, Reply, Stage, page, problem, server


def lay_health(
    stage: Stage,
    *,
    live: Reply | None = None,
    ready: Reply | None = None,
    me: Reply | None = None,
    version_there: str = version("overworld"),
) -> None:
    """An API that is well, but for what is given."""
    stage.lay("GET", "//livez", live or Reply(raw=b"ok\n"))
    stage.lay("GET", "//readyz", ready or Reply(raw=b"ok\n"))
    stage.lay("GET", "/openapi.json", Reply({"info": {"version": version_there}}))
    stage.lay("GET", "/me", me or Reply({"account": {"name": "ann", "role": "user"}}))


def findings(run: Run) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit status, and the findings by check."""
    result = run("doctor", "-o", "json")
    return result.exit_code, {item["check"]: item for item in json.loads(result.stdout)["items"]}


def test_all_is_well(stage: Stage, run: Run) -> None:
    """Nothing bad is exit status 0, and every check says what it saw."""
    lay_health(stage)
    stage.lay("GET", "/servers", page())
    status, found = findings(run)
    assert status == 0
    assert {name: item["severity"] for name, item in found.items()} == dict.fromkeys(
        ("kept token", "api", "ready", "token", "version", "clock", "servers"), "ok"
    )
    assert TOKEN not in json.dumps(found)


def test_an_unreachable_api_is_said_once(run: Run) -> None:
    """The checks that need the API say that they were not made, and do not try again."""
    result = run("doctor", env={"OVERWORLD_URL": "http://127.0.0.1:9"})
    assert result.exit_code == 1
    assert result.stdout.count("cannot be reached") == 1
    assert result.stdout.count("not looked at") == 5
    assert "What to do about api: see that it runs there" in result.stdout
    assert "overworld doctor" not in result.stdout, "that is where one is already"


def test_each_trouble_has_its_finding(stage: Stage, run: Run, environment: dict[str, str | None]) -> None:
    """Not ready, another version, failed servers, a token that others can read: each is named with its mend."""
    from overworld.cli.config import config_path, write_config

    lay_health(stage, ready=problem(503, "unavailable", "Wait", "The database does not answer."), version_there="0.0.1")
    stage.lay("GET", "/servers", page(server(name="broken", state="failed")))
    path = config_path({key: value for key, value in environment.items() if value is not None})
    write_config(path, "https://a.example", "ow_a_1")
    path.chmod(0o644)
    status, found = findings(run)
    assert status == 1
    assert found["ready"]["says"] == "The database does not answer."
    assert found["version"]["severity"] == "warning"
    assert "broken" in found["servers"]["says"]
    assert "chmod 600" in found["kept token"]["mend"]
    assert all(item["mend"] for item in found.values() if item["severity"] != "ok")


def test_a_wrong_clock_is_noticed(stage: Stage, run: Run) -> None:
    """A machine whose clock is far from the API's is told so."""
    lay_health(stage, live=Reply(raw=b"ok\n", headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}))
    stage.lay("GET", "/servers", page())
    _, found = findings(run)
    assert found["clock"]["severity"] == "warning"


@pytest.mark.parametrize("token", [None, "ow_wrong_1"])
def test_a_token_that_is_none_is_bad(stage: Stage, run: Run, token: str | None) -> None:
    """No token, or one that the API refuses, is bad and has the mend."""
    refusal = problem(401, "not-authenticated", "Who are you?")
    lay_health(stage, me=refusal)
    stage.lay("GET", "/servers", refusal)
    result = run("doctor", "-o", "json", env={"OVERWORLD_TOKEN": token})
    found = {item["check"]: item for item in json.loads(result.stdout)["items"]}
    assert result.exit_code == 1
    assert found["token"]["severity"] == "bad"
    assert "overworld login" in found["token"]["mend"]


def test_checks_can_be_handed_in_and_may_break(environment: dict[str, str | None]) -> None:
    """A check that raises is a finding; one that cannot even be made hides none of the others."""

    def breaks() -> Finding:
        raise RuntimeError("no\nway")

    def doctor(checks: object) -> dict[str, dict[str, str]]:
        result = CliRunner(env=environment).invoke(build_cli(extra_checks=checks), ["doctor", "-o", "json"])  # type: ignore[arg-type]
        assert result.exit_code == 1
        return {item["check"]: item for item in json.loads(result.stdout)["items"]}

    found = doctor(lambda: [Check("disk", lambda: Finding(Severity.OK, "fine")), Check("ports", breaks)])
    assert (found["disk"]["severity"], found["ports"]["severity"]) == ("ok", "bad")
    assert "RuntimeError: no way" in found["ports"]["says"]
    assert "no\nway".replace("\n", " ") in doctor(breaks)["this machine"]["says"]


def test_a_wrong_setting_is_named(run: Run) -> None:
    """Neither address nor machine can be looked at; the finding says which variable it is, and what it holds."""
    result = run("doctor", env={"OVERWORLD_URL": None, "OVERWORLD_LISTEN_PORT": "abc"})
    assert result.exit_code == 1
    assert "OVERWORLD_LISTEN_PORT" in result.stdout
    assert "(it is 'abc')" in result.stdout
    assert "BadUsage" not in result.stdout
