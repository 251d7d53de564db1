"""The roles as processes of their own, on a PostgreSQL by URL: two controllers, and never two games on one world."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from installation import Installation, folder_for_everybody, json_of
from overworld.domain.accounts import Role
from overworld.services import bootstrap, tokens
from overworld.store import schema
from overworld.store.database import Database
from waiting import wait_until

CATALOGUE = Path(__file__).parents[1] / "games" / "catalogue"
TAKEOVER_SECONDS = 40.0


@contextmanager
def role(it: Installation, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """One role at work, ended at the end."""
    with it.log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "overworld", name], env=it.environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def is_up(it: Installation) -> bool:
    """Whether web answers."""
    try:
        return httpx.get(f"{it.url}/readyz", timeout=2).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.timeout(240)
def test_a_standby_takes_over_and_the_game_notices_nothing(database: Database, database_url: str) -> None:
    """The leading controller is killed; the other one adopts the very same game and obeys the next wish."""
    with database.transaction() as tx:
        token = bootstrap.ensure_admin_token(tx, None, datetime.now(UTC))
    with folder_for_everybody() as folder, ExitStack() as stack:
        it = Installation(folder / "data", catalogue_folders=str(CATALOGUE), database_url=database_url)
        it.folder.mkdir(mode=0o711)
        stack.callback(it.destroy)
        stack.enter_context(role(it, "web"))
        leader = stack.enter_context(role(it, "controller"))
        wait_until(lambda: "this controller leads" in it.last_log_lines(), 30, "the first controller leads")
        standby = stack.enter_context(role(it, "controller"))
        stack.enter_context(role(it, "monitor"))
        wait_until(lambda: is_up(it), 30, "web answers")
        api = stack.enter_context(
            httpx.Client(base_url=f"{it.url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        )
        server_id = json_of(api.post("/servers", json={"name": "meadow", "game": "journal"}))["id"]
        wait_until(lambda: json_of(api.get(f"/servers/{server_id}"))["state"] == "running", 30, "it runs")
        (game,) = it.games()
        leader.send_signal(signal.SIGKILL)
        leader.wait(10)
        wait_until(
            lambda: it.last_log_lines(1000).count("this controller leads") == 2, TAKEOVER_SECONDS, "the standby leads"
        )
        assert standby.poll() is None
        assert [process.pid for process in it.games()] == [game.pid]
        wait_until(
            lambda: (json_of(api.get(f"/servers/{server_id}"))["activity"] or {}).get("memory_mib"), 30, "it is watched"
        )
        json_of(api.post(f"/servers/{server_id}/stop"))
        wait_until(lambda: json_of(api.get(f"/servers/{server_id}"))["state"] == "stopped", 30, "it stopped")
        world = it.folder / "servers" / server_id / "world" / "1"
        assert not (world / "two-at-once").exists()
        assert (world / "saves").read_text() == "1\n"


def test_a_role_refuses_a_schema_that_is_not_its_own(empty_database_url: str, tmp_path: Path) -> None:
    """An old schema is said with its mend, before anything is touched."""
    environment = {**os.environ, "OVERWORLD_DATABASE_URL": empty_database_url, "OVERWORLD_DATA_FOLDER": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", "overworld", "controller"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert "overworld db upgrade" in ended.stderr
    assert schema.current_revision(empty_database_url) is None


def test_who_has_the_database_gets_an_admin_token(database_url: str, database: Database, tmp_path: Path) -> None:
    """Where no `overworld up` runs, as in a cluster: `overworld db admin-token`, and the token works."""
    environment = {**os.environ, "OVERWORLD_DATABASE_URL": database_url, "OVERWORLD_DATA_FOLDER": str(tmp_path)}
    command = [sys.executable, "-m", "overworld", "db", "admin-token"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    with database.transaction() as tx:
        actor, _ = tokens.authenticate(tx, ended.stdout.strip(), datetime.now(UTC))
    assert actor.role is Role.ADMIN
