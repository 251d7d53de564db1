"""Files of worlds through the API, the internal HTTP and real agents."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from integration.web.clients import Client
from overworld.store.database import Database
from overworld.worker.address import listen_in
from worlds.serving import give_to_game, make_world

MIB = 2**20


class World:
    """A server of somebody's, and its world."""

    def __init__(self, owner: Client, database: Database, data: Path, **given: Any) -> None:
        self.owner = owner
        self.id = owner.make_server(f"World of {owner.account_id}")["id"]
        self.folder = make_world(database, data, self.id, **given)

    def ask(self, method: str, what: str = "", *, by: Client | None = None, **given: Any) -> Any:
        """One request about its files; names are the query."""
        query = {name: given.pop(name) for name in list(given) if name not in {"json", "data", "headers"}}
        return (by or self.owner).ask(method, f"/servers/{self.id}/files{what}", query_string=query, **given)


@pytest.fixture
def hers(anna: Client, database: Database, files: Path) -> World:
    """Anna's server and world."""
    world = World(anna, database, files)
    (world.folder / "server.properties").write_text("pvp=true\n")
    (world.folder / "region").mkdir()
    (world.folder / "region" / "r.mca").write_bytes(b"\1" * 3 * MIB)
    give_to_game(world.folder)
    return world


def slug(answer: Any) -> str:
    """What kind of problem it is."""
    return str(answer.get_json()["type"]).rpartition("/")[2]


def test_a_folder_is_browsed(hers: World) -> None:
    """Pages in the order of names, each entry with its path; whether the game runs."""
    page = hers.ask("GET", page_size=1).get_json()
    assert [item["path"] for item in page["items"]] == ["region"]
    rest = hers.ask("GET", page_token=page["next_page_token"]).get_json()
    assert [item["name"] for item in rest["items"]] == ["server.properties"]
    assert rest["next_page_token"] is None
    assert not rest["running"]
    inner = hers.ask("GET", path="/region/").get_json()["items"][0]
    assert (inner["path"], inner["type"], inner["size_bytes"]) == ("region/r.mca", "file", 3 * MIB)
    assert hers.ask("GET", "/entry", path="region/r.mca").get_json() == inner


def test_a_text_is_edited_with_its_etag(hers: World) -> None:
    """Read, written with the ETag, refused with the old one; never made where it was to be edited."""
    read = hers.ask("GET", "/text", path="server.properties")
    assert read.get_json()["text"] == "pvp=true\n"
    condition = {"If-Match": read.headers["ETag"]}
    written = hers.ask("PUT", "/text", path="server.properties", data="pvp=false\n", headers=condition)
    assert written.status_code == 200, written.text
    late = hers.ask("PUT", "/text", path="server.properties", data="late", headers=condition)
    assert slug(late) == "precondition-failed"
    again = hers.ask("PUT", "/text", path="server.properties", data="x", headers={"If-Match": written.headers["ETag"]})
    assert again.status_code == 200
    plain = hers.ask("GET", "/text", path="server.properties", headers={"Accept": "text/plain"})
    assert plain.text == "x"
    by_plain = {"If-Match": plain.headers["ETag"]}
    assert hers.ask("PUT", "/text", path="server.properties", data="y", headers=by_plain).status_code == 200
    assert slug(hers.ask("PUT", "/text", path="gone", data="z", headers={"If-Match": "*"})) == "precondition-failed"
    only_new = {"If-None-Match": "*"}
    assert slug(hers.ask("PUT", "/text", path="server.properties", data="z", headers=only_new)) == "precondition-failed"
    assert hers.ask("PUT", "/text", path="new", data="z", headers=only_new).status_code == 200


@pytest.mark.parametrize("data", [b"\xff\xfe", b"cut \xc3"])
def test_what_is_no_text_is_not_written_as_one(hers: World, data: bytes) -> None:
    """It could not be read again; the file stays as it was."""
    assert slug(hers.ask("PUT", "/text", path="server.properties", data=data)) == "bad-input"
    assert hers.ask("GET", "/text", path="server.properties").get_json()["text"] == "pvp=true\n"


def test_files_come_and_go(hers: World) -> None:
    """Upload, download, folders, renames, deletions; each leaves an event that says who."""
    content = os.urandom(5 * MIB + 7)
    assert hers.ask("POST", "/folders", json={"path": "plugins"}).status_code == 201
    assert slug(hers.ask("POST", "/folders", json={"path": "plugins"})) == "conflict"
    assert hers.ask("PUT", "/content", path="plugins/a.jar", data=content).get_json()["size_bytes"] == len(content)
    got = hers.ask("GET", "/content", path="plugins/a.jar")
    assert got.data == content
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    moved = hers.ask("POST", "/rename", json={"path": "plugins/a.jar", "to": "b.jar"})
    assert moved.get_json()["path"] == "b.jar"
    assert slug(hers.ask("POST", "/rename", json={"path": "b.jar", "to": "server.properties"})) == "conflict"
    assert slug(hers.ask("DELETE", path="region")) == "conflict"
    answer = hers.ask("DELETE", path="region", recursive="true")
    assert answer.status_code == 204, answer.text
    assert slug(hers.ask("DELETE", path="region")) == "not-found"
    events = hers.owner.get(f"/servers/{hers.id}/events").get_json()["items"]
    assert [event["message"] for event in events if event["reason"] == "FilesChanged"] == [
        "anna deleted region.",
        "anna moved plugins/a.jar to b.jar.",
        "anna uploaded plugins/a.jar.",
        "anna made the folder plugins.",
    ]  # and nothing of what was refused


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_folder_is_taken_away(hers: World, form: str) -> None:
    """As an archive, whole."""
    answer = hers.ask("GET", "/content", path="", archive=form)
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''world.{form}"
    content = io.BytesIO(answer.data)
    if form == "zip":
        with zipfile.ZipFile(content) as archive:
            names = archive.namelist()
    else:
        with tarfile.open(fileobj=content) as tar:
            names = tar.getnames()
    assert sorted(name.strip("/") for name in names) == ["region", "region/r.mca", "server.properties"]


def test_a_repeated_post_does_nothing_twice(hers: World) -> None:
    """A rename with the key of one that was done answers what that did."""
    given: dict[str, Any] = {"json": {"path": "server.properties", "to": "x"}, "headers": {"Idempotency-Key": "one"}}
    first, second = hers.ask("POST", "/rename", **given), hers.ask("POST", "/rename", **given)
    assert first.get_json() == second.get_json()
    assert second.headers["Idempotent-Replayed"] == "true"


HOSTILE = [
    "../../../../etc/passwd",
    "/etc/passwd",
    "..",
    "region/../../..",
    "etc-link/passwd",
    "root-link/etc/passwd",
    "passwd-link",
    "region/\N{LATIN SMALL LETTER A}\x00",
    "pipe",
    "a" * 300,
    "\U0010ffae\U0010ffae/\U0010ffae\U0010ffae",
    "....//....//etc/passwd",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_tenant_stays_in_the_own_world(hers: World, path: str, database: Database, files: Path) -> None:
    """By every verb and path, Anna reads and writes nothing but her world."""
    for link, target in (("etc-link", "/etc"), ("root-link", "/"), ("passwd-link", "/etc/passwd")):
        (hers.folder / link).symlink_to(target)
    os.mkfifo(hers.folder / "pipe")
    before = Path("/etc/passwd").read_bytes()
    for method, what, given in (
        ("GET", "", {"path": path}),
        ("GET", "/text", {"path": path}),
        ("GET", "/content", {"path": path}),
        ("GET", "/content", {"path": path, "archive": "tar"}),
        ("PUT", "/text", {"path": path + "/x", "data": "evil"}),
        ("PUT", "/content", {"path": path + "/x", "data": "evil"}),
        ("POST", "/folders", {"json": {"path": path + "/x"}}),
        ("POST", "/rename", {"json": {"path": "server.properties", "to": path + "/x"}}),
        ("DELETE", "", {"path": path + "/x", "recursive": "true"}),
    ):
        answer = hers.ask(method, what, **given)
        assert answer.status_code in {404, 409, 422}, (method, what, answer.text)
        assert b"root:" not in answer.data
    assert Path("/etc/passwd").read_bytes() == before
    assert (hers.folder / "server.properties").read_text() == "pvp=true\n"


def test_a_hostile_tenant_cannot_reach_anothers_world(
    hers: World, ben: Client, database: Database, files: Path
) -> None:
    """Neither by its id nor by a path or link out of the own world."""
    his = World(ben, database, files)
    (his.folder / "hers").symlink_to(hers.folder)
    for path in (f"../../{hers.id}/world/1/server.properties", "hers/server.properties", str(hers.folder)):
        assert his.ask("GET", "/content", path=path).status_code in {404, 409, 422}
    assert hers.ask("GET", "/content", by=ben, path="server.properties").status_code == 404
    assert hers.ask("PUT", "/content", by=ben, path="server.properties", data="his").status_code == 404
    assert (hers.folder / "server.properties").read_text() == "pvp=true\n"


def test_names_of_every_kind(hers: World) -> None:
    """Line ends, control characters, half characters and bad UTF-8: listed, read and removed by what the list says."""
    names = [
        b"line\nend",
        b"\x1b[31mred",
        b"\xff\xfe",
        "\U0010ff80".encode(),
        b"a\\b",
        b"%2e%2e",
        b" ",
        b"\xed\xa0\x80",
    ]
    for name in names:
        with open(os.fsencode(hers.folder) + b"/" + name, "wb") as file:
            file.write(name)
    (hers.folder / "server.properties").unlink()
    listed = [item for item in hers.ask("GET").get_json()["items"] if item["type"] == "file"]
    assert len(listed) == len(names)
    seen = {hers.ask("GET", "/content", path=item["path"]).data for item in listed}
    assert seen == set(names)
    for item in listed:
        assert hers.ask("DELETE", path=item["path"]).status_code == 204
    assert os.listdir(hers.folder) == ["region"]


def test_what_is_too_large_is_refused(hers: World) -> None:
    """Texts over 4 MiB, whether the length is said or not; nothing is left of them."""
    assert slug(hers.ask("PUT", "/text", path="new", data=b"x" * (4 * MIB + 1))) == "too-large"
    unsaid = {"input_stream": io.BytesIO(b"x" * (4 * MIB + 1)), "environ_overrides": {"wsgi.input_terminated": True}}
    answer = hers.owner.put(f"/servers/{hers.id}/files/text?path=new", **unsaid)
    assert slug(answer) == "too-large", answer.text
    assert sorted(os.listdir(hers.folder)) == ["region", "server.properties"]


def test_states_in_which_it_cannot_be(anna: Client, hers: World, database: Database, files: Path) -> None:
    """Without a world nothing can be done; a deleted server's files can be read and not changed."""
    never = anna.make_server("Never started")["id"]
    assert slug(anna.get(f"/servers/{never}/files")) == "conflict"
    assert anna.delete(f"/servers/{hers.id}").status_code == 202
    assert hers.ask("GET", "/text", path="server.properties").status_code == 200
    assert slug(hers.ask("PUT", "/text", path="server.properties", data="x")) == "conflict"


def test_a_running_game_is_told(anna: Client, database: Database, files: Path) -> None:
    """Edits are possible, and say that the game works on the same files."""
    server = anna.make_server("Runs", start=True)["id"]
    make_world(database, files, server, running=True)
    assert anna.get(f"/servers/{server}/files").get_json()["running"]
    assert anna.put(f"/servers/{server}/files/text?path=a", data="b").get_json()["running"]


def test_a_slow_worker_holds_no_database_connection(anna: Client, database: Database, settings: Any) -> None:
    """Every change waits for it after its transaction has ended."""
    server = anna.make_server()["id"]
    make_world(database, settings.data_folder, server)
    base = f"/servers/{server}/files"
    with listen_in(settings.data_folder) as worker, ThreadPoolExecutor(1) as pool:
        worker.settimeout(20)
        for method, path, given in (
            ("POST", f"{base}/folders", {"json": {"path": "new"}, "headers": {"Idempotency-Key": "one"}}),
            ("POST", f"{base}/rename", {"json": {"path": "a", "to": "b"}}),
            ("PUT", f"{base}/text?path=a", {"data": "a"}),
            ("DELETE", f"{base}?path=a", {}),
        ):
            asked = pool.submit(anna.ask, method, path, **given)
            connection, _ = worker.accept()
            with connection:
                assert database.engine.pool.checkedout() == 0, path  # type: ignore[attr-defined]
                if "headers" in given:
                    assert slug(anna.ask(method, path, **given)) == "still-running"
            assert slug(asked.result(20)) == "unavailable"
    events = anna.get(f"/servers/{server}/events").get_json()["items"]
    assert "FilesChanged" not in {event["reason"] for event in events}


def test_without_a_worker(anna: Client, database: Database, settings: Any) -> None:
    """503, and a word that it can be tried again."""
    server = anna.make_server()["id"]
    make_world(database, settings.data_folder, server)
    answer = anna.get(f"/servers/{server}/files")
    assert (answer.status_code, slug(answer)) == (503, "unavailable")
