"""Saves and restores of real games, through the API, with a real restic."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import httpx

from installation import Installation, json_of
from integration.worker.saving import (
    create,
    database_of,
    events,
    keep_last,
    needs_luanti,
    needs_players,
    needs_restic,
    newest_world,
    protection,
    quick_check,
    restic,
    save,
    saves,
    saving_installation,
    show,
    succeed,
    until_ended,
    until_state,
    worlds,
)
from overworld.cli.doctor import Severity
from overworld.doctor import checks
from overworld.settings import Settings
from players.bot import Bot
from waiting import wait_until

pytestmark = needs_restic


@needs_luanti
def test_a_running_luanti_is_saved_whole_and_restored_with_undo(
    installation: Installation, api: httpx.Client, tmp_path: Path
) -> None:
    """Its databases are copied by SQLite; the restored world is a new generation, on which it runs; undo goes back."""
    server_id = create(api, "luanti")
    (present,) = worlds(installation, server_id).values()
    wait_until((present / "world" / "map.sqlite").exists, 20, "the game has made its map: seconds after it is ready")
    taken = save(api, server_id, label="before the flood")
    assert (taken["state"], taken["quiet"], taken["label"]) == ("kept", "quieted", "before the flood")
    assert taken["files"] > 3
    assert not (present / ".overworld-save").exists()
    proven = succeed(api, api.post(f"/servers/{server_id}/prove", json={}))
    assert "files restored" in proven["message"]
    assert saves(api, server_id)[0]["proof"] == "booted"
    (present / "world" / "flood").write_text("everything is under water")

    succeed(api, api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"]}))
    assert show(api, server_id)["state"] == "running"
    found = worlds(installation, server_id)
    assert sorted(found) == [1, 2]
    assert not (found[2] / "world" / "flood").exists()
    assert not (found[2] / ".overworld-save").exists()
    assert quick_check(found[2] / "world" / "map.sqlite", tmp_path) == "ok"
    assert found[2].stat().st_uid == found[1].stat().st_uid
    assert [each["reason"] for each in saves(api, server_id)] == ["before_restore", "on_demand"]

    succeed(api, api.post(f"/servers/{server_id}/undo-restore"))
    wait_until(lambda: show(api, server_id)["state"] == "running", 60, "it runs again")
    assert (worlds(installation, server_id)[1] / "world" / "flood").exists()
    assert {"Saved", "Restored", "RestoreUndone"} <= set(events(api, server_id))


@needs_players
def test_a_running_minecraft_holds_still_and_another_player_finds_the_hole(
    installation: Installation, api: httpx.Client
) -> None:
    """What was dug before the save is there after a restore, what was dug after it is not."""
    server_id = create(api, "minecraft")
    port = show(api, server_id)["endpoints"][0]["port"]
    with Bot("Ada", port=port) as ada:
        ada.join()
        _, first = ada.look()
        assert ada.dig(first)[0] == "air"
        taken = save(api, server_id)
        assert taken["quiet"] == "quieted", taken
        assert taken["off_seconds"] <= 3
        second = (first[0] + 1, first[1], first[2])
        assert ada.dig(second)[0] == "air"
        ada.leave()
    succeed(api, api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"]}))
    until_state(api, server_id, "running")
    with Bot("Ben", port=port) as ben:
        ben.join()
        assert ben.look(first)[0] == "air"
        assert ben.look(second)[0] != "air"
    lines = json_of(api.get(f"/servers/{server_id}/console?limit=1000"))["lines"]
    words = [line["text"] for line in lines]
    assert words.count("Automatic saving is now disabled") == words.count("Automatic saving is now enabled") > 0


def test_a_stopped_server_is_saved_by_itself_and_proven(installation: Installation, api: httpx.Client) -> None:
    """Its save is consistent for free, and a drill finds every file of it the same as in the world."""
    server_id = create(api, "diary")
    succeed(api, api.post(f"/servers/{server_id}/stop"))
    wait_until(lambda: [each["state"] for each in saves(api, server_id)] == ["kept"], 60, "it is saved")
    (taken,) = saves(api, server_id)
    assert (taken["reason"], taken["quiet"]) == ("stop", "stopped")
    proof = succeed(api, api.post(f"/servers/{server_id}/prove", json={}))
    assert f"{taken['files']} files restored; {taken['files']} of them" in proof["message"]
    server = show(api, server_id)
    assert server["saves"]["last_proven_at"] is not None
    assert protection(api, server_id)["status"] == "True"
    assert saves(api, server_id)[0]["proof"] == "booted"
    assert not [each for each in (installation.folder / "scratch").iterdir() if each.is_dir()]


def test_single_files_are_restored_into_the_world_as_it_is(installation: Installation, api: httpx.Client) -> None:
    """The game is stopped for it and started again; what was not asked for stays as it was at the game's end."""
    server_id = create(api, "diary")
    world = worlds(installation, server_id)[1]
    for name in ("mine", "other"):
        (world / name).mkdir()
        (world / name / "text").write_text("before")
    taken = save(api, server_id)
    for name in ("mine", "other"):
        (world / name / "text").write_text("after")
    done = succeed(api, api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"], "paths": ["mine"]}))
    assert ": mine; the rest is as it was" in done["message"]
    until_state(api, server_id, "running")
    found = worlds(installation, server_id)[2]
    assert (found / "mine" / "text").read_text() == "before"
    assert (found / "other" / "text").read_text() == "after"
    assert not list(found.parent.glob(".making-*"))
    refused = api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"], "paths": ["../other"]})
    assert refused.status_code == 422


def test_a_path_that_is_not_in_the_save_leaves_everything_as_it_was(
    installation: Installation, api: httpx.Client
) -> None:
    """The restore fails with a sentence, and the game was not stopped for it."""
    server_id = create(api, "diary")
    taken = save(api, server_id)
    asked = json_of(api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"], "paths": ["no/such"]}))
    ended = until_ended(api, asked)
    assert (ended["outcome"], ended["reason"]) == ("failed", "NoSuchSave")
    assert show(api, server_id)["state"] == "running"
    assert list(worlds(installation, server_id)) == [1]
    happened = events(api, server_id)
    assert happened[0] == "RestoreFailed"
    assert "Stopped" not in happened


def test_a_save_is_looked_through_and_taken_away(installation: Installation, api: httpx.Client) -> None:
    """Folder by folder, file by file, or all of it; a path that is not in it is a 404."""
    server_id = create(api, "diary")
    folder = worlds(installation, server_id)[1] / "a folder"
    folder.mkdir()
    content = os.urandom(300_000)
    (folder / "fïle").write_bytes(content)
    taken = save(api, server_id)
    assert taken["bytes_new"] > 300_000, "what is sent before the game holds still counts"
    found = json_of(api.get(f"/saves/{taken['id']}/files"))["items"]
    assert {"a folder", "page-0"} <= {each["name"] for each in found}
    (file,) = json_of(api.get(f"/saves/{taken['id']}/files", params={"path": "a folder"}))["items"]
    assert (file["path"], file["size_bytes"], file["type"]) == ("a folder/fïle", 300_000, "file")
    assert api.get(f"/saves/{taken['id']}/content", params={"path": file["path"]}).content == content
    archive = api.get(f"/saves/{taken['id']}/content", params={"path": "a folder", "archive": "zip"})
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert any(name.endswith("fïle") for name in opened.namelist())
    assert api.get(f"/saves/{taken['id']}/content", params={"path": "nothing"}).status_code == 404
    nothing = api.get(f"/saves/{taken['id']}/content", params={"path": "nothing", "archive": "zip"})
    assert nothing.status_code == 404, "told before anything is sent"
    whole = api.get(f"/saves/{taken['id']}/content")
    assert (whole.status_code, "zip or tar" in whole.json()["detail"]) == (422, True)


def test_a_deleted_server_comes_back_as_a_clone(installation: Installation, api: httpx.Client) -> None:
    """Even if it is removed at once its last world was saved first; the clone has it, and runs."""
    server_id = create(api, "diary")
    (worlds(installation, server_id)[1] / "treasure").write_text("gold")
    assert api.delete(f"/servers/{server_id}", params={"retention_seconds": 0}).status_code == 202
    wait_until(lambda: api.get(f"/servers/{server_id}").status_code == 404, 60, "it is purged")
    (last,) = json_of(api.get("/saves", params={"server": server_id}))["items"]
    assert (last["state"], last["reason"], last["quiet"]) == ("kept", "before_delete", "stopped")
    name = f"again-{server_id}"
    cloned = succeed(api, api.post(f"/saves/{last['id']}/clone", json={"name": name, "start": True}))
    until_state(api, cloned["server_id"], "running")
    assert (newest_world(installation, cloned["server_id"]) / "treasure").read_text() == "gold"


def test_a_game_that_does_not_prove_it_is_saved_unquieted(installation: Installation, api: httpx.Client) -> None:
    """Never silently ok: the save says so, and so does an event."""
    server_id = create(api, "diary")
    assert api.post(f"/servers/{server_id}/console", json={"command": "deaf"}).status_code == 204
    taken = save(api, server_id)
    assert taken["quiet"] == "unquieted"
    assert "did not say" in taken["error"]
    assert "SaveUnquieted" in events(api, server_id)


def test_pins_labels_and_removal(installation: Installation, api: httpx.Client) -> None:
    """Retention leaves a pinned save alone, and so does its owner until the pin is off."""
    server_id = create(api, "diary", start=False)
    nothing = succeed(api, api.post(f"/servers/{server_id}/saves", json={}))
    assert "nothing in the world" in nothing["message"]
    (worlds(installation, server_id)[1] / "page").write_text("1")
    json_of(api.patch(f"/servers/{server_id}/save-policy", json=keep_last(1)))
    pinned = save(api, server_id, pinned=True)
    (worlds(installation, server_id)[1] / "page").write_text("2")
    second = save(api, server_id)
    save(api, server_id)
    assert [each["id"] for each in json_of(api.get(f"/servers/{server_id}/saves?gone=true"))["items"]] == [second["id"]]
    assert api.delete(f"/saves/{pinned['id']}").status_code == 409
    json_of(api.patch(f"/saves/{pinned['id']}", json={"pinned": False, "label": "old"}))
    succeed(api, api.delete(f"/saves/{pinned['id']}"))
    assert pinned["id"] not in {each["id"] for each in saves(api, server_id)}


def test_a_game_that_was_left_without_saving_is_told_to_go_on(installation: Installation, api: httpx.Client) -> None:
    """Whoever told it not to write died: the row that was written before is enough for the next worker."""
    server_id = create(api, "diary")
    world = worlds(installation, server_id)[1]
    assert api.post(f"/servers/{server_id}/console", json={"command": "save-off"}).status_code == 204
    wait_until((world / "saving-is-off").exists, 20, "it writes no more")
    with database_of(installation) as connection:
        connection.execute("INSERT INTO saving_off VALUES (%s, 'of a dead worker', now())", [server_id])
    wait_until(lambda: not (world / "saving-is-off").exists(), 30, "it writes again")

    def is_forgotten() -> bool:
        with database_of(installation) as connection:
            return connection.execute("SELECT 1 FROM saving_off WHERE server_id = %s", [server_id]).fetchone() is None

    wait_until(is_forgotten, 20, "nothing is left to undo")


def test_a_store_that_lost_a_server_is_told_with_its_mend(installation: Installation, api: httpx.Client) -> None:
    """Saves and restores fail with an event and a condition, the world runs on; put back, all is well again."""
    server_id = create(api, "diary")
    taken = save(api, server_id)
    repository = installation.folder / "saves" / server_id
    away = repository.rename(repository.with_name("away"))
    lost = until_ended(api, json_of(api.post(f"/servers/{server_id}/saves", json={})))
    assert (lost["outcome"], lost["reason"]) == ("failed", "NoRepository"), lost
    condition = protection(api, server_id)
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "SaveFailed", lost["message"])
    asked = json_of(api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"]}))
    assert until_ended(api, asked)["outcome"] == "failed"
    assert show(api, server_id)["state"] == "running"
    assert list(worlds(installation, server_id)) == [1]
    assert {"SaveFailed", "RestoreFailed", "NotSavedBefore"} <= set(events(api, server_id))
    told = json.loads(api.get(f"/saves/{taken['id']}/content", params={"archive": "zip"}).content)
    assert (told["title"], told["detail"]) == ("The save store refused", lost["message"])
    settings = Settings(data_folder=installation.folder, restic=restic())
    found = next(check for check in checks(settings, {}) if check.name == "saves").run()
    assert (found.severity, lost["message"] in found.says) == (Severity.BAD, True)
    away.rename(repository)
    save(api, server_id)
    assert protection(api, server_id)["reason"] == "RestoreFailed"
    succeed(api, api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"]}))
    assert protection(api, server_id)["status"] == "True"


def test_a_save_that_waits_or_works_can_be_called_off(installation: Installation, api: httpx.Client) -> None:
    """It ends as cancelled, and the game writes."""
    server_id = create(api, "diary")
    assert api.post(f"/servers/{server_id}/console", json={"command": "deaf"}).status_code == 204
    asked = json_of(api.post(f"/servers/{server_id}/saves", json={}))
    json_of(api.post(f"/operations/{asked['id']}/cancel"))
    assert until_ended(api, asked)["outcome"] == "cancelled"
    assert [each["state"] for each in saves(api, server_id)] in ([], ["failed"])


def test_saves_of_a_purged_server_go_when_their_time_has_passed() -> None:
    """They are gone from the store and from lists; until then they could be cloned."""
    with saving_installation(save_retention="0") as installation, installation.api() as api:
        server_id = create(api, "diary")
        save(api, server_id)
        assert api.delete(f"/servers/{server_id}", params={"retention_seconds": 0}).status_code == 202
        wait_until(lambda: api.get(f"/servers/{server_id}").status_code == 404, 60, "it is purged")
        listed = {"server": server_id}
        wait_until(lambda: not json_of(api.get("/saves", params=listed))["items"], 90, "its saves are removed")
        assert json_of(api.get("/saves", params=listed | {"gone": "true"}))["items"]
        assert not list((installation.folder / "saves" / server_id / "snapshots").iterdir())
