"""Worlds that somebody brings: from one server's download to another one's save, and what must not come in."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from installation import Installation, json_of
from integration.worker.saving import (
    answers,
    create,
    events,
    needs_luanti,
    needs_restic,
    newest_world,
    protection,
    quick_check,
    save,
    saves,
    saving_installation,
    show,
    succeed,
    until_ended,
    until_state,
    worlds,
)
from waiting import wait_until

pytestmark = needs_restic

MIB = 2**20


def upload(api: httpx.Client, server_id: str, archive: bytes, **params: str) -> httpx.Response:
    """The archive sent."""
    return api.post(f"/servers/{server_id}/saves/upload", params=params, content=archive, timeout=60)


def uploaded(api: httpx.Client, server_id: str) -> dict[str, Any]:
    """The one save that was uploaded."""
    (found,) = [each for each in saves(api, server_id) if each["reason"] == "upload"]
    return found


def tar_of(files: dict[str, bytes]) -> bytes:
    """A tar of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@needs_luanti
@pytest.mark.parametrize("how", ["a save as zip", "a folder as tar.gz"])
def test_a_world_moves_from_one_server_to_another(
    installation: Installation, api: httpx.Client, tmp_path: Path, how: str
) -> None:
    """Downloaded from a running Luanti, uploaded to one that never ran, restored: it boots on it and answers."""
    source = create(api, "luanti")
    wait_until((worlds(installation, source)[1] / "world" / "map.sqlite").exists, 30, "it has a map")
    if how == "a save as zip":
        archive = api.get(f"/saves/{save(api, source)['id']}/content", params={"path": "", "archive": "zip"}).content
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            assert ".overworld-save/world/map.sqlite" in opened.namelist()
    else:
        succeed(api, api.post(f"/servers/{source}/stop"))
        found = api.get(f"/servers/{source}/files/content", params={"path": "world", "archive": "tar"}).content
        with tarfile.open(fileobj=io.BytesIO(found)) as opened_tar:
            files = {
                f"Backups of 2019/My World/{member.name}": extracted.read()
                for member in opened_tar
                if (extracted := opened_tar.extractfile(member)) is not None
            }
        archive = gzip.compress(tar_of(files))

    target = create(api, "luanti", start=False)
    ended = succeed(api, upload(api, target, archive, label="from afar", pinned="true"))
    new = uploaded(api, target)
    assert (new["state"], new["quiet"], new["label"], new["pinned"]) == ("kept", "stopped", "from afar", True)
    assert new["id"] in ended["message"]
    assert list(worlds(installation, target)) == [1]
    assert api.post(f"/servers/{target}/undo-restore").status_code == 409
    assert show(api, target)["saves"]["last_saved_at"] is None

    succeed(api, api.post(f"/servers/{target}/restore", json={"save_id": new["id"]}))
    json_of(api.post(f"/servers/{target}/start"))
    answers(until_state(api, target, "running"))
    world = newest_world(installation, target)
    assert not (world / ".overworld-save").exists()
    assert quick_check(world / "world" / "map.sqlite", tmp_path) == "ok"
    old, there = worlds(installation, source)[1] / "world" / "map_meta.txt", world / "world" / "map_meta.txt"
    assert there.read_text() == old.read_text()
    assert {"WorldUploaded", "Saved", "Restored"} <= set(events(api, target))


def test_an_upload_is_cloned_and_drilled_like_any_save(installation: Installation, api: httpx.Client) -> None:
    """And what is in the server's own world counts as unsaved still."""
    server_id = create(api, "diary")
    pages = {f"page-{number}": b"7" * 100 for number in range(8)} | {"treasure": b"gold"}
    succeed(api, upload(api, server_id, tar_of(pages)))
    new = uploaded(api, server_id)
    assert "restored" in succeed(api, api.post(f"/servers/{server_id}/prove", json={"save_id": new["id"]}))["message"]
    assert uploaded(api, server_id)["proof"] == "booted"
    cloned = succeed(api, api.post(f"/saves/{new['id']}/clone", json={"name": f"c-{server_id}", "start": True}))
    until_state(api, cloned["server_id"], "running")
    assert (newest_world(installation, cloned["server_id"]) / "treasure").read_text() == "gold"
    succeed(api, api.post(f"/servers/{server_id}/stop"))
    wait_until(lambda: [each["reason"] for each in saves(api, server_id)] == ["stop", "upload"], 60, "it is saved")


def link(name: str, target: str) -> bytes:
    """A tar with a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        archive.addfile(info)
    return out.getvalue()


REFUSED = {
    "nothing": (b"", "no zip or tar"),
    "a text": (b"hello" * 1000, "no zip or tar"),
    "a way out": (tar_of({"../../evil": b"evil"}), "leads out"),
    "a link out": (link("evil", "/etc/passwd"), "leads out"),
    "a bomb": (gzip.compress(tar_of({"zeros": bytes(300 * MIB)})), "a bomb"),
    "another game": (tar_of({"a/readme": b""}), "no world of this game: there is no "),
}


@pytest.mark.parametrize("what", REFUSED)
@needs_luanti
def test_what_is_refused_leaves_nothing(installation: Installation, api: httpx.Client, what: str) -> None:
    """The operation says what was wrong; there is no save, no second world and no problem of the server."""
    server_id = create(api, "luanti", start=False)
    archive, says = REFUSED[what]
    ended = until_ended(api, json_of(upload(api, server_id, archive)))
    assert ended["outcome"] == "failed"
    assert says in ended["message"]
    assert saves(api, server_id) == []
    assert list(worlds(installation, server_id)) == [1]
    assert events(api, server_id)[0] == "UploadFailed"
    assert protection(api, server_id) == {}


def test_one_that_breaks_off_leaves_nothing(installation: Installation, api: httpx.Client) -> None:
    """Its sender goes away in the middle: no save, no operation, and its room is cleared."""
    server_id = create(api, "diary", start=False)
    head = (
        f"POST /api/v1/servers/{server_id}/saves/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        f"{installation.token}\r\nContent-Length: {50 * MIB}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", installation.port)) as peer:
        peer.sendall(head.encode() + os.urandom(MIB))
        wait_until(lambda: 2 in worlds(installation, server_id), 30, "it arrives")
    wait_until(lambda: list(worlds(installation, server_id)) == [1], 60, "what had arrived is gone")
    assert saves(api, server_id) == []
    kinds = [each["kind"] for each in json_of(api.get("/operations", params={"server": server_id}))["items"]]
    assert kinds == ["create"]


def test_what_a_dead_worker_left_is_gone_on_with(installation: Installation) -> None:
    """All of Overworld is killed while it unpacks: afterwards there is one save, whole, and nothing besides."""
    with installation.api() as api:
        server_id = create(api, "diary", start=False)
        files = {f"folder-{number % 50}/file-{number}": b"%d" % number for number in range(20_000)}
        asked = json_of(upload(api, server_id, tar_of(files)))
    wait_until(lambda: list(unpacking(installation, server_id)), 30, "it unpacks")
    assert installation.up is not None
    installation.up.kill()
    installation.up.wait(20)
    installation.start()
    with installation.api() as api:
        ended = until_ended(api, asked)
        assert ended["outcome"] == "succeeded", ended
        assert uploaded(api, server_id)["files"] == len(files)
        assert list(worlds(installation, server_id)) == [1]


def unpacking(installation: Installation, server_id: str) -> Iterator[Path]:
    """What an agent has begun to unpack."""
    for world in worlds(installation, server_id).values():
        yield from world.glob(".overworld-unpacking/*")


def test_a_full_disk_is_said_before_and_in_the_middle() -> None:
    """What cannot fit is refused at once, what turns out not to fit fails; the game keeps its room and its world."""
    with saving_installation(disk="192m") as it, it.api() as api:
        server_id = create(api, "diary")
        refused = upload(api, server_id, bytes(100 * MIB))
        assert (refused.status_code, refused.json()["type"]) == (503, "/docs/problems/capacity-exhausted")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("large", bytes(100 * MIB))
        ended = until_ended(api, json_of(upload(api, server_id, out.getvalue())))
        assert ended["outcome"] == "failed"
        assert "disk is full" in ended["message"]
        wait_until(lambda: list(worlds(it, server_id)) == [1], 60, "its room is cleared")
        assert show(api, server_id)["state"] == "running"
        succeed(api, upload(api, server_id, tar_of({"page-0": b"1"})))


def test_by_the_command_line(installation: Installation, api: httpx.Client, tmp_path: Path) -> None:
    """`overworld saves upload` waits for its end and says what the save is."""
    server_id = create(api, "diary", start=False)
    archive = tmp_path / "world.tar"
    archive.write_bytes(tar_of({"page-0": b"1"}))
    done = installation.overworld("saves", "upload", server_id, str(archive), "--label", "mine")
    assert done.returncode == 0, done.stderr
    assert uploaded(api, server_id)["id"] in done.stdout
    assert "upload" in installation.overworld("saves", "list", server_id).stdout
    archive.write_bytes(b"no archive")
    refused = installation.overworld("saves", "upload", server_id, str(archive))
    assert refused.returncode == 1
    assert "no zip or tar" in refused.stderr
