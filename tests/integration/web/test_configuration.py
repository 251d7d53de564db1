"""Revisions of configurations: who changed what, back and forth, and what nobody is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integration.web.clients import Client
from kept_saves import make_kept_save
from overworld.store import revisions
from overworld.store.database import Database
from overworld.store.servers import purge_server
from worlds.serving import give_to_game, make_world


def path(server: dict[str, Any], *what: object) -> str:
    """The path of its revisions, or of one."""
    return "/".join([f"/servers/{server['id']}/config/revisions", *map(str, what)])


def listed(client: Client, server: dict[str, Any]) -> list[tuple[int, str, list[str], int | None]]:
    """Its revisions, newest first."""
    items = client.get(path(server)).get_json()["items"]
    return [(each["revision"], each["by"], each["changed"], each["restored_from"]) for each in items]


def edit(client: Client, server: dict[str, Any], **given: Any) -> None:
    """An edit."""
    answer = client.patch(f"/servers/{server['id']}", json=given)
    assert answer.status_code == 200, answer.text


def test_every_change_is_a_revision(anna: Client, admin: Client) -> None:
    """With who made it and what differs; starts and edits that change nothing are none."""
    server = anna.make_server(variables={"motd": "one"})
    anna.post(f"/servers/{server['id']}/start")
    edit(anna, server, variables={"motd": "two", "pvp": False})
    edit(anna, server, variables={"motd": "two"})
    edit(admin, server, name="House", memory_mib=1024)
    assert listed(anna, server) == [
        (3, "admin", ["memory_mib", "name"], None),
        (2, "anna", ["variables.motd", "variables.pvp"], None),
        (1, "anna", [], None),
    ]
    second = anna.get(path(server, 2)).get_json()
    assert second["previous"] == 1
    assert second["changes"] == [
        {"name": "variables.motd", "before": "one", "after": "two", "secret": False},
        {"name": "variables.pvp", "before": True, "after": False, "secret": False},
    ]
    assert second["settings"]["name"] == "Home"
    assert anna.get(path(server, 1)).get_json()["changes"] == []
    assert anna.get(path(server, 4)).status_code == 404
    first = anna.get(path(server) + "?page_size=2").get_json()
    rest = anna.get(path(server) + f"?page_size=2&page_token={first['next_page_token']}").get_json()
    assert [each["revision"] for each in (*first["items"], *rest["items"])] == [3, 2, 1]


def test_a_restore_brings_everything_back_as_a_new_revision(anna: Client) -> None:
    """Name, memory and variables; it can be taken back; one that changes nothing makes none. An event says who."""
    server = anna.make_server(variables={"motd": "one", "password": "hunter2"}, memory_mib=512)
    edit(anna, server, name="House", memory_mib=1024, variables={"motd": "two", "password": "other", "pvp": False})
    made = anna.post(path(server, 1, "restore"), headers={"Idempotency-Key": "one"}).get_json()
    assert (made["revision"], made["restored_from"]) == (3, 1)
    shown = anna.get(f"/servers/{server['id']}").get_json()
    assert (shown["name"], shown["memory_mib"]) == ("Home", 512)
    assert shown["variables"] == server["variables"]
    assert anna.post(path(server, 1, "restore")).get_json()["revision"] == 3
    again = anna.post(path(server, 2, "restore")).get_json()
    assert (again["revision"], again["changed"]) == (4, made["changed"])
    events = anna.get(f"/servers/{server['id']}/events").get_json()["items"]
    assert [each["reason"] for each in events[:3]] == [
        "ConfigurationRestored",
        "ConfigurationRestored",
        "ConfigurationChanged",
    ]
    assert events[1]["message"].startswith("anna restored revision 1, which changed memory_mib, name, ")


def test_what_cannot_be_is_refused_as_an_edit_is(anna: Client) -> None:
    """A name that another server took, a server that is deleted; nothing is changed, and no revision made."""
    server = anna.make_server()
    edit(anna, server, name="House")
    other = anna.make_server("Home")
    assert anna.post(path(server, 1, "restore")).status_code == 409
    anna.delete(f"/servers/{other['id']}")
    anna.delete(f"/servers/{server['id']}")
    assert anna.post(path(server, 1, "restore")).status_code == 409
    assert [number for number, *_ in listed(anna, server)] == [2, 1]


@pytest.mark.parametrize("who", ["anna", "admin"])
def test_a_secret_is_never_shown(who: str, request: pytest.FixtureRequest, anna: Client) -> None:
    """In no list, revision, diff or event, to its owner or an admin: only that it changed."""
    client: Client = request.getfixturevalue(who)
    server = anna.make_server(variables={"password": "hunter2"})
    edit(anna, server, variables={"password": "correct horse"})
    anna.post(path(server, 1, "restore"))
    diff = client.get(path(server, 2))
    assert diff.get_json()["changes"] == [{"name": "variables.password", "before": None, "after": None, "secret": True}]
    answers = [path(server), *(path(server, number) for number in (1, 2, 3)), f"/servers/{server['id']}/events"]
    for asked in answers:
        text = client.get(asked).text
        assert "hunter2" not in text
        assert "correct horse" not in text
    assert anna.get(f"/servers/{server['id']}").get_json()["variables"]["password"] == "hunter2"


def test_revisions_outlive_their_server(anna: Client, ben: Client, database: Database) -> None:
    """For who owned it and nobody else, until their time has passed; a save names the one it was taken under."""
    server = anna.make_server()
    edit(anna, server, variables={"motd": "bye"})
    assert make_kept_save(database, server["id"]).configuration_revision == 2
    anna.delete(f"/servers/{server['id']}?retention_seconds=0")
    now = datetime.now(UTC)
    with database.transaction() as tx:
        assert purge_server(tx, server["id"], now)
    assert anna.get(f"/servers/{server['id']}").status_code == 404
    assert [number for number, *_ in listed(anna, server)] == [2, 1]
    assert anna.get(path(server, 2)).get_json()["settings"]["variables.motd"] == "bye"
    assert ben.get(path(server)).status_code == ben.get(path(server, 2)).status_code == 404
    assert anna.post(path(server, 1, "restore")).status_code == 409
    with database.transaction() as tx:
        assert revisions.prune_gone(tx, now - timedelta(seconds=1)) == 0
        assert revisions.prune_gone(tx, now) == 2
    assert anna.get(path(server)).status_code == 404


def write(client: Client, server: dict[str, Any], text: str | bytes) -> None:
    """A text file of its world written."""
    answer = client.put(f"/servers/{server['id']}/files/text?path=/world//world.mt", data=text)
    assert answer.status_code == 200, answer.text


def test_a_text_file_is_kept_at_each_edit(anna: Client, ben: Client, database: Database, files: Path) -> None:
    """What was there before, what became of it, and what the game made of it meanwhile; a restore writes it again."""
    server = anna.make_server()
    world = make_world(database, files, server["id"])
    (world / "world").mkdir()
    file = world / "world" / "world.mt"
    file.write_text("backend = sqlite3\n")
    give_to_game(world)
    write(anna, server, "backend = sqlite3\ncreative = true\n")
    file.write_text("the game wrote this\n")
    write(anna, server, "mended")
    here = ["world/world.mt"]
    assert listed(anna, server)[:4] == [
        (5, "anna", here, None),
        (4, "", here, None),
        (3, "anna", here, None),
        (2, "", here, None),
    ]
    third = anna.get(path(server, 3)).get_json()
    assert (third["path"], third["previous"], third["settings"]) == ("world/world.mt", 2, {})
    assert third["diff"] == "@@ -1 +1,2 @@\n backend = sqlite3\n+creative = true\n"
    assert anna.get(path(server, 2)).get_json()["text"] == "backend = sqlite3\n"
    made = anna.post(path(server, 3, "restore"), headers={"Idempotency-Key": "one"}).get_json()
    assert (made["revision"], made["restored_from"], made["previous"]) == (6, 3, 5)
    assert file.read_text() == third["text"]
    assert anna.post(path(server, 3, "restore"), headers={"Idempotency-Key": "one"}).get_json() == made
    assert len(anna.get(f"{path(server)}?path=world/world.mt").get_json()["items"]) == 5
    assert ben.get(path(server, 3)).status_code == ben.post(path(server, 3, "restore")).status_code == 404
    edit(anna, server, variables={"motd": "two"})
    assert anna.get(path(server, 7)).get_json()["previous"] == 1
    messages = [each["message"] for each in anna.get(f"/servers/{server['id']}/events").get_json()["items"]]
    assert "anna restored world/world.mt as it was in revision 3." in messages


@pytest.mark.parametrize("text", [b"x" * 65 * 1024, b"a\0b"])
def test_what_is_no_text_that_people_write_is_written_and_not_kept(
    anna: Client, database: Database, files: Path, text: bytes
) -> None:
    """Large texts, and what PostgreSQL cannot hold; the file itself is as it was given."""
    server = anna.make_server()
    world = make_world(database, files, server["id"])
    (world / "world").mkdir()
    give_to_game(world)
    write(anna, server, text)
    assert (world / "world" / "world.mt").read_bytes() == text
    write(anna, server, "")
    assert [number for number, *_ in listed(anna, server)] == [2, 1]
    assert anna.get(path(server, 2)).get_json()["text"] == ""


def test_the_oldest_go_and_the_settings_in_force_stay(
    anna: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody fills the database by editing."""
    monkeypatch.setattr(revisions, "MOST_KEPT", 3)
    server = anna.make_server()
    for number in range(5):
        edit(anna, server, variables={"motd": str(number)})
    assert [number for number, *_ in listed(anna, server)] == [6, 5, 4]
