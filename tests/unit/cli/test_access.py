"""login, tokens and accounts."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from unit.cli.conftest import Run
from unit.cli.stage import TOKEN, Reply, Stage, page, problem

ACCOUNT = {
    "id": "accountaaaaa",
    "name": "ann",
    "role": "user",
    "quota": {"servers": 10, "memory_mib": 4096},
    "created_at": "2026-01-02T03:00:00Z",
    "disabled_at": None,
}
ISSUED = {
    "id": "tokenaaaaaaa",
    "account_id": "accountaaaaa",
    "label": "ci",
    "prefix": "abc",
    "created_at": "2026-01-02T03:00:00Z",
    "expires_at": None,
    "last_used_at": None,
    "revoked_at": None,
}
NOBODY = {"OVERWORLD_URL": None, "OVERWORLD_TOKEN": None}


def test_login_tries_and_keeps_the_token(stage: Stage, run: Run, tmp_path: Path) -> None:
    """The token is read from standard input, tried, kept for this user only, and used from then on."""
    stage.lay("GET", "/me", Reply({"account": ACCOUNT, "used": {"servers": 1, "memory_mib": 512}}))
    result = run("login", stage.url + "/", input=f"{TOKEN}\n", env=NOBODY)
    assert result.exit_code == 0, result.output
    assert f"You are ann at {stage.url}." in result.stdout
    assert TOKEN not in result.output
    path = tmp_path / "config" / "overworld" / "config.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "1 of 10" in run("accounts", "show", env=NOBODY).stdout
    assert [request.headers["authorization"] for request in stage.requests] == [f"Bearer {TOKEN}"] * 2


def test_a_refused_token_is_not_kept(stage: Stage, run: Run, tmp_path: Path) -> None:
    """What does not work is not written down."""
    stage.lay("GET", "/me", problem(401, "not-authenticated", "Who are you?"))
    assert run("login", stage.url, input=f"{TOKEN}\n", env=NOBODY).exit_code == 4
    assert run("login", stage.url, input="", env=NOBODY).exit_code == 2
    assert not (tmp_path / "config").exists()


def test_login_takes_no_token_as_an_argument(stage: Stage, run: Run) -> None:
    """A token on the command line, where others can see it, is a usage error."""
    assert run("login", stage.url, TOKEN).exit_code == 2


def test_login_warns_where_the_way_is_open(run: Run) -> None:
    """http to another machine is said to be readable by everybody on the way."""
    result = run("login", "http://games.invalid", input=f"{TOKEN}\n", env=NOBODY)
    assert result.exit_code == 5
    assert "not encrypted" in result.stderr


def test_a_new_token_is_alone_on_standard_output(stage: Stage, run: Run) -> None:
    """So that a script can take it; it is asked for once only, for it would not be told twice."""
    stage.lay("POST", "/accounts/me/tokens", Reply({**ISSUED, "token": "ow_new_1"}, 201))
    result = run("token", "create", "ci", "--lifetime", "1d")
    assert result.stdout == "ow_new_1\n"
    assert stage.requests[0].body == {"label": "ci", "lifetime_seconds": 86400}


def test_tokens_are_listed_and_revoked(stage: Stage, run: Run) -> None:
    """For oneself, or for the account that is named."""
    stage.lay("GET", "/accounts/me/tokens", page(ISSUED))
    assert run("token", "list").stdout.splitlines()[1].split()[:3] == ["tokenaaaaaaa", "ci", "abc"]
    stage.lay("DELETE", "/accounts/accountaaaaa/tokens/tokenaaaaaaa", Reply(status=204, raw=b""))
    assert run("token", "revoke", "tokenaaaaaaa", "--account", "accountaaaaa").exit_code == 0


def test_half_a_quota_is_completed_by_what_is(stage: Stage, run: Run) -> None:
    """The API takes a quota as a whole: the other half stays as it is, guarded by the version that was read."""
    stage.lay("GET", "/accounts/accountaaaaa", Reply(ACCOUNT, headers={"ETag": '"v1"'}))
    stage.lay("PATCH", "/accounts/accountaaaaa", Reply(ACCOUNT))
    assert run("accounts", "edit", "accountaaaaa", "--servers", "3", "--disable").exit_code == 0
    edit = stage.seen("PATCH", "/accounts/accountaaaaa")[0]
    assert edit.body == {"disabled": True, "quota": {"servers": 3, "memory_mib": 4096}}
    assert edit.headers["if-match"] == '"v1"'


def test_accounts_are_made_and_listed(stage: Stage, run: Run) -> None:
    """With the quota that was given, or the installation's own."""
    stage.lay("POST", "/accounts", Reply(ACCOUNT, 201))
    stage.lay("GET", "/accounts", page(ACCOUNT))
    assert "accountaaaaa" in run("accounts", "create", "ann").stdout
    assert stage.requests[0].body == {"name": "ann", "role": "user"}
    assert json.loads(run("accounts", "list", "-o", "json").stdout)["items"] == [ACCOUNT]
    assert "ann" in run("accounts", "list").stdout
