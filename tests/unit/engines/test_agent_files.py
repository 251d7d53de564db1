"""The world agent's verbs for files, on real folders."""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.engines import agent
from worlds.asking import ask, names, snapshot

raw_names = st.binary(min_size=1, max_size=60).map(lambda raw: raw.replace(b"/", b"x").replace(b"\0", b"y"))
file_names = raw_names.filter(lambda raw: raw not in {b".", b".."})


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world beside which a secret lies."""
    (tmp_path / "secret").write_text("not yours")
    folder = tmp_path / "world"
    folder.mkdir()
    (folder / "server.properties").write_text("pvp=true\n")
    (folder / "region").mkdir()
    (folder / "region" / "r.0.0.mca").write_bytes(b"\0" * 8192)
    (folder / "out").symlink_to(tmp_path)
    (folder / "to-secret").symlink_to("../secret")
    os.mkfifo(folder / "pipe")
    return folder


@given(raw=st.binary(max_size=80))
def test_every_name_is_text_and_comes_back(raw: bytes) -> None:
    """Any bytes become text that is valid UTF-8, and that text becomes the same bytes."""
    text = agent.show_name(raw)
    text.encode("utf-8")
    if b"\0" not in raw:
        assert agent.read_name(text) == raw


@given(text=st.text(max_size=80))
def test_no_text_makes_a_separator(text: str) -> None:
    """Text stands for a slash or a dot only where it holds one itself."""
    try:
        raw = agent.read_name(text)
    except agent.Refusal:
        return
    assert raw.count(b"/") == text.count("/")
    assert raw.count(b".") == text.count(".")


@given(raw=st.binary(max_size=200))
def test_no_path_leads_up(raw: bytes) -> None:
    """A path is refused, or its parts are names."""
    try:
        parts = agent.split_path(raw)
    except agent.Refusal:
        return
    assert all(part not in {b"", b".", b".."} and b"/" not in part for part in parts)


def test_a_folder_is_listed(world: Path) -> None:
    """Each thing with its type; a link shows where it leads and is not followed."""
    found = {item["name"]: item for item in ask(world, "list").items}
    assert {name: item["type"] for name, item in found.items()} == {
        "out": "link",
        "pipe": "other",
        "region": "folder",
        "server.properties": "file",
        "to-secret": "link",
    }
    assert found["to-secret"]["target"] == "../secret"
    assert found["server.properties"]["size"] == 9


@settings(deadline=None, max_examples=30)
@given(given=st.sets(file_names, max_size=12), limit=st.integers(1, 5))
def test_pages_hold_everything_once(tmp_path_factory: pytest.TempPathFactory, given: set[bytes], limit: int) -> None:
    """Page after page, whatever the names, each thing is there once."""
    folder = tmp_path_factory.mktemp("pages")
    for name in given:
        fd = os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=os.open(folder, os.O_RDONLY))
        os.close(fd)
    seen: list[str] = []
    after = None
    while True:
        page = ask(folder, "list", after=after, limit=limit)
        seen += names(page)
        assert page.done is not None
        after = page.done["after"]
        if after is None:
            break
    assert [agent.read_name(name) for name in seen] == sorted(given)


@pytest.mark.parametrize(
    "path", ["out/secret", "out", "to-secret", "../secret", "region/../../secret", "pipe", "out/x"]
)
@pytest.mark.parametrize("verb", ["read", "download", "write", "upload"])
def test_nothing_leads_out(world: Path, path: str, verb: str) -> None:
    """No verb reads or writes through a link, by .. or in a pipe."""
    before = snapshot(world.parent)
    answered = ask(world, verb, path=path, body=b"overwritten", most_bytes=1000)
    assert answered.code in {"is-link", "bad-path", "not-file"}
    assert answered.data == b""
    assert snapshot(world.parent) == before


@pytest.mark.parametrize("path", ["../secret", "out/secret", "", "/", "."])
def test_nothing_outside_is_removed_or_moved(world: Path, path: str) -> None:
    """Delete, rename and mkdir stay inside, and leave the world itself alone."""
    before = snapshot(world.parent)
    for verb, more in (("delete", {"recursive": True}), ("rename", {"to": "here"}), ("mkdir", {})):
        assert ask(world, verb, path=path, **more).code in {"bad-path", "is-link"}
    assert ask(world, "rename", path="server.properties", to="../moved").code == "bad-path"
    assert ask(world, "rename", path="server.properties", to="out/moved").code == "is-link"
    assert snapshot(world.parent) == before


def test_removing_a_link_leaves_what_it_leads_to(world: Path) -> None:
    """The link goes, the folder behind it stays as it was."""
    assert ask(world, "delete", path="out", recursive=True).done == {"count": 1}
    assert (world.parent / "secret").read_text() == "not yours"


def test_a_text_is_edited_by_its_tag(world: Path) -> None:
    """A write with the tag of what was read replaces it and keeps its mode; with an old tag it changes nothing."""
    (world / "server.properties").chmod(0o640)
    tag = ask(world, "read", path="server.properties").items[0]["tag"]
    written = ask(world, "write", path="server.properties", tags=[tag], body=b"pvp=false\n")
    assert written.done is not None
    assert not written.done["is_new"]
    assert ask(world, "write", path="server.properties", tags=[tag], body=b"late").code == "changed"
    assert ask(world, "write", path="server.properties", absent=True, body=b"late").code == "changed"
    assert ask(world, "read", path="server.properties").data == b"pvp=false\n"
    assert stat.S_IMODE((world / "server.properties").stat().st_mode) == 0o640
    assert ask(world, "write", path="gone", tags=["*"], body=b"late").code == "changed"


def test_of_two_edits_with_one_tag_one_wins(world: Path) -> None:
    """Many at once with the tag of the same content: exactly one is written."""
    tag = ask(world, "read", path="server.properties").items[0]["tag"]
    codes: list[str] = []

    def edit(number: int) -> None:
        codes.append(ask(world, "write", path="server.properties", tags=[tag], body=b"by %d" % number).code)

    editors = [threading.Thread(target=edit, args=(number,)) for number in range(8)]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
    assert sorted(codes) == ["changed"] * 7 + ["done"]


def test_an_upload_that_is_cut_off_leaves_no_trace(world: Path) -> None:
    """Without the end of the body nothing is there, and what was there stays."""
    before = snapshot(world)
    assert ask(world, "upload", path="region/new", most_bytes=1000, raw_body=b"+5\nhello").code == "cut-off"
    assert ask(world, "upload", path="server.properties", most_bytes=1000, raw_body=b"+500\nhello").code == "cut-off"
    assert ask(world, "upload", path="big", most_bytes=1000, body=b"x" * 1001).code == "too-large"
    assert ask(world, "write", path="big", body=b"x" * (agent.TEXT_BYTES + 1)).code == "too-large"
    assert snapshot(world) == before


def test_what_a_killed_agent_left_is_swept(world: Path) -> None:
    """Parts that are hours old are gone after the next upload; young ones may belong to somebody."""
    old, young = world / ".overworld-0123456789abcdef.part", world / ".overworld-fedcba9876543210.part"
    old.write_text("")
    young.write_text("")
    os.utime(old, (time.time() - 7200,) * 2)
    assert ask(world, "upload", path="new", most_bytes=10, body=b"new").code == "done"
    assert not old.exists()
    assert young.exists()


def test_a_rename_takes_no_place(world: Path) -> None:
    """Never over a thing, unless that was asked for; a folder is never moved into itself."""
    (world / "second").write_text("2")
    assert ask(world, "rename", path="second", to="server.properties").code == "exists"
    assert ask(world, "rename", path="region", to="region/inner").code == "bad-path"
    assert ask(world, "rename", path="second", to="server.properties", replace=True).code == "done"
    assert (world / "server.properties").read_text() == "2"
    assert ask(world, "rename", path="region", to="regions").code == "done"
    assert ask(world, "rename", path="to-secret", to="regions/link").done is not None
    assert (world / "regions" / "link").readlink() == Path("../secret")


def test_a_text_is_text(world: Path) -> None:
    """Other encodings and large files are not read as text."""
    (world / "latin").write_bytes("Größe".encode("latin-1"))
    with (world / "large").open("wb") as file:
        file.truncate(agent.TEXT_BYTES + 1)
    assert ask(world, "read", path="latin").code == "not-text"
    assert ask(world, "read", path="large").code == "too-large"


def test_a_range_is_downloaded(world: Path) -> None:
    """From an offset so many bytes, or what there is."""
    assert ask(world, "download", path="server.properties", offset=4, length=3).data == b"tru"
    assert ask(world, "download", path="server.properties", offset=100).data == b""


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_folder_is_downloaded(world: Path, form: str) -> None:
    """Files, folders and links, links as links; a pipe is left out; nothing from outside."""
    (world / "empty").mkdir()
    answered = ask(world, "download", path="", archive=form)
    assert answered.done == {"files": 6, "left_out": 1}
    content = io.BytesIO(answered.data)
    if form == "zip":
        with zipfile.ZipFile(content) as archive:
            assert archive.testzip() is None
            assert archive.read("server.properties") == b"pvp=true\n"
            assert archive.read("to-secret") == b"../secret"
            found = archive.namelist()
    else:
        with tarfile.open(fileobj=content) as tar:
            assert tar.getmember("to-secret").issym()
            found = [entry.name + ("/" if entry.isdir() else "") for entry in tar]
    assert sorted(found) == ["empty/", "out", "region/", "region/r.0.0.mca", "server.properties", "to-secret"]


@settings(deadline=None, max_examples=20)
@given(given=st.dictionaries(file_names, st.binary(max_size=3000), max_size=6), form=st.sampled_from(["zip", "tar"]))
def test_an_archive_comes_back_as_it_went(
    tmp_path_factory: pytest.TempPathFactory, given: dict[bytes, bytes], form: str
) -> None:
    """Whatever the names and contents: downloaded as zip or tar and unpacked again, it is the same. (But for what the
    rules for archives refuse.)"""
    folder, again = tmp_path_factory.mktemp("from"), tmp_path_factory.mktemp("to")
    for name, content in given.items():
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(content)
    data = ask(folder, "download", path="", archive=form).data
    (again / ".overworld-archive").write_bytes(data)
    answered = ask(again, "unpack", most_bytes=10**6)
    if not given or any(name[1:2] == b":" or name in {agent.ARCHIVE, agent.UNPACKING} for name in given):
        return
    if form == "tar" and any(b"\\" in name for name in given):
        return
    assert answered.code == "done", answered.error
    assert snapshot(again) == snapshot(folder)


def test_a_folder_dug_deep_is_removed(world: Path) -> None:
    """Deeper than paths and descriptors reach, with closed folders on the way."""
    here = os.open(world, os.O_RDONLY)
    for depth in range(1500):
        os.mkdir("deep", 0o700, dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        if depth % 100 == 0:
            os.fchmod(inner, 0o700 if os.geteuid() == 0 else 0o500)
        os.close(here)
        here = inner
    os.close(here)
    assert ask(world, "download", path="deep", archive="tar").code == "too-deep"
    assert ask(world, "delete", path="deep").code == "not-empty"
    assert ask(world, "delete", path="deep", recursive=True).done == {"count": 3000}
    assert not (world / "deep").exists()


def test_a_folder_that_becomes_a_link_is_never_followed(world: Path) -> None:
    """While a folder is swapped for a link to the outside and back, nothing outside is read or written."""
    inside, aside, stop = world / "swap", world / "aside", threading.Event()
    inside.mkdir()
    (inside / "secret").write_text("mine")

    def swap() -> None:
        while not stop.is_set():
            inside.rename(aside)
            inside.symlink_to(world.parent)
            inside.unlink()
            aside.rename(inside)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(1500):
            seen.add(ask(world, "download", path="swap/secret").data)
            ask(world, "upload", path="swap/written", body=b"by a race", most_bytes=100)
            ask(world, "delete", path="swap/written")
    finally:
        stop.set()
        swapper.join()
    assert seen <= {b"mine", b""}
    assert sorted(path.name for path in world.parent.iterdir()) == ["secret", "world"]
    assert (world.parent / "secret").read_text() == "not yours"


def test_a_file_that_becomes_a_link_or_a_pipe_is_never_read(world: Path) -> None:
    """The same for a file, swapped for a link to the secret and for a pipe, which would block."""
    file, aside, stop = world / "file", world / "aside", threading.Event()
    file.write_text("mine")

    def swap() -> None:
        while not stop.is_set():
            for is_link in (True, False):
                file.rename(aside)
                if is_link:
                    file.symlink_to("../secret")
                else:
                    os.mkfifo(file)
                file.unlink()
                aside.rename(file)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = {ask(world, verb, path="file").data for _ in range(1000) for verb in ("download", "read")}
    finally:
        stop.set()
        swapper.join()
    assert seen <= {b"mine", b""}


def test_a_huge_folder_is_listed_in_pages(tmp_path: Path) -> None:
    """Of 30,000 names a page is told, and the place to go on from."""
    here = os.open(tmp_path, os.O_RDONLY)
    for number in range(30_000):
        os.close(os.open(f"{number:05}", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    page = ask(tmp_path, "list", after=b"19999".hex(), limit=3)
    assert names(page) == ["20000", "20001", "20002"]
    assert page.done == {"after": b"20002".hex()}


@pytest.mark.skipif(sys.platform != "linux", reason="device nodes of Linux")
def test_devices_and_sockets_are_never_opened(world: Path) -> None:
    """What is no file is told as such, and can be removed."""
    if os.geteuid() != 0:
        pytest.skip("only root makes devices")
    os.mknod(world / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert ask(world, "download", path="device").code == "not-file"
    assert ask(world, "upload", path="device", body=b"x", most_bytes=10).code == "not-file"
    assert ask(world, "delete", path="device").code == "done"


def test_a_manifest_tells_what_a_restore_must_bring_back(world: Path) -> None:
    """Types, modes, times, targets, groups of hard links and content."""
    os.link(world / "server.properties", world / "twin")
    found = {item["path"]: item for item in ask(world, "tree", hash=True).items}
    assert found["twin"]["links"] == found["server.properties"]["links"] == "server.properties"
    assert found["region/r.0.0.mca"]["sha256"] == "9f1dcbc35c350d6027f98be0f5c8b43b42ca52b7604459c0c42be3aa88913d47"
    assert found["out"]["target"] == str(world.parent)
    assert found["pipe"]["type"] == "other"
    assert found["server.properties"]["mtime_ns"] == (world / "twin").stat().st_mtime_ns


def test_a_tree_of_endless_names_is_refused(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for one keeps it: a game that digs deep must not fill the worker's memory with a few empty files."""
    deep = world.joinpath(*["d" * 250] * 10)
    deep.mkdir(parents=True)
    for number in range(420):
        (deep / str(number)).touch()
    assert ask(world, "tree").code == "done"
    monkeypatch.setattr(agent, "TREE_BYTES", 2**20)
    assert ask(world, "tree").error == {
        "code": "too-many",
        "says": "The names of its files have more than 1 MiB.",
    }
