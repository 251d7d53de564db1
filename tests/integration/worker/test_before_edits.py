"""A world is saved before its files are changed: once for many changes, shortly, and never in the way of mending it."""

from __future__ import annotations

import httpx
import pytest

from installation import Installation, json_of
from integration.worker.saving import create, database_of, events, needs_restic, saves, succeed, until_ended, worlds
from waiting import wait_until

pytestmark = needs_restic


@pytest.fixture
def server_id(installation: Installation, api: httpx.Client) -> str:
    """A server that runs, with a file in its world."""
    server_id = create(api, "diary")
    (worlds(installation, server_id)[1] / "rules").write_text("old")
    return server_id


def write(api: httpx.Client, server_id: str, text: str, **params: str) -> httpx.Response:
    """The file written."""
    return api.put(f"/servers/{server_id}/files/text", params={"path": "rules", **params}, content=text)


def reasons(api: httpx.Client, server_id: str) -> list[str]:
    """Why each save was taken, newest first."""
    return [each["reason"] for each in saves(api, server_id)]


def an_hour_passes(installation: Installation, server_id: str) -> None:
    """Since what was saved of the server, and done with it."""
    with database_of(installation) as connection:
        for table in ("save", "operation"):
            connection.execute(
                f"UPDATE {table} SET created_at = created_at - interval '1 hour' WHERE server_id = %s", [server_id]
            )


def test_an_editing_session_begins_with_one_save(api: httpx.Client, server_id: str) -> None:
    """It holds the file as it was; what follows within half an hour takes none, nor does a change that is refused."""
    json_of(write(api, server_id, "new"))
    (taken,) = saves(api, server_id)
    assert (taken["reason"], taken["state"], taken["quiet"]) == ("before_edit", "kept", "quieted")
    assert api.get(f"/saves/{taken['id']}/content", params={"path": "rules"}).text == "old"
    for number in range(5):
        json_of(write(api, server_id, str(number)))
    moved = {"path": "rules", "to": "rules.txt"}
    json_of(api.post(f"/servers/{server_id}/files/rename", json=moved, headers={"Idempotency-Key": "one"}))
    again = api.post(f"/servers/{server_id}/files/rename", json=moved, headers={"Idempotency-Key": "one"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert api.delete(f"/servers/{server_id}/files", params={"path": "nothing"}).status_code == 404
    assert reasons(api, server_id) == ["before_edit"]
    assert events(api, server_id).count("FilesChanged") == 7


def test_what_is_saved_needs_no_other_save(installation: Installation, api: httpx.Client, server_id: str) -> None:
    """Neither where there was one a moment ago, nor where nothing was played or changed since the last; and a deletion
    after a change takes its own."""
    succeed(api, api.post(f"/servers/{server_id}/stop"))
    wait_until(lambda: [each["state"] for each in saves(api, server_id)] == ["kept"], 60, "it is saved")
    an_hour_passes(installation, server_id)
    with database_of(installation) as connection:
        connection.execute(
            "UPDATE server_status SET conditions = regexp_replace(conditions::text, '20[0-9]{2}-', '2001-', 'g')::jsonb"
            " WHERE server_id = %s",
            [server_id],
        )
    json_of(write(api, server_id, "after the last save"))
    assert reasons(api, server_id) == ["stop"]
    json_of(api.delete(f"/servers/{server_id}", params={"retention_seconds": 3600}))
    wait_until(lambda: reasons(api, server_id) == ["before_delete", "stop"], 60, "the change is saved")


def test_a_save_that_takes_long_is_not_waited_for(
    installation: Installation, api: httpx.Client, server_id: str
) -> None:
    """After 20 seconds: 409 with the operation to wait for, and nothing was changed; `unsaved` does it all the same."""
    busy = "INSERT INTO world_lease VALUES (%s, 'of another', 'somebody', 1, now() + interval '1 hour')"
    with database_of(installation) as connection:
        connection.execute(busy, [server_id])
    refused = write(api, server_id, "new")
    assert (refused.status_code, refused.json()["reason"]) == (409, "SaveUnderWay")
    world = worlds(installation, server_id)[1]
    assert (world / "rules").read_text() == "old"
    assert "FilesChanged" not in events(api, server_id)
    forced = installation.overworld("files", "rm", server_id, "rules", "--unsaved")
    assert forced.returncode == 0, forced.stderr
    assert not (world / "rules").exists()
    with database_of(installation) as connection:
        connection.execute("DELETE FROM world_lease WHERE server_id = %s", [server_id])
    ended = until_ended(api, {"id": refused.json()["operation_id"], "kind": "save"})
    assert ended["outcome"] == "succeeded"


def test_a_store_that_fails_locks_nobody_out(installation: Installation, api: httpx.Client, server_id: str) -> None:
    """The change is made, an event says that nothing was saved before, and the next ones do not try again."""
    succeed(api, api.post(f"/servers/{server_id}/saves", json={}))
    an_hour_passes(installation, server_id)
    repository = installation.folder / "saves" / server_id
    away = repository.rename(repository.with_name("away"))
    json_of(write(api, server_id, "mended"))
    json_of(write(api, server_id, "mended again"))
    away.rename(repository)
    assert events(api, server_id).count("NotSavedBefore") == 1
    assert (worlds(installation, server_id)[1] / "rules").read_text() == "mended again"
