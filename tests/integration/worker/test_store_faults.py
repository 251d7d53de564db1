"""Saves in a bucket, through the worker, and whatever happens to the bucket or the disk in the midst of a save or a
restore: an event says what mends it, the game goes on with its world, and all works again once it is mended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from disks import grow_disk, small_disk
from installation import Installation, folder_for_everybody, json_of
from integration.worker.saving import (
    create,
    events,
    keep_last,
    needs_restic,
    newest_world,
    save,
    saves,
    saving_installation,
    show,
    succeed,
    until_ended,
    worlds,
)
from overworld.settings import Settings
from overworld.wiring import open_database
from overworld.worker_wiring import open_repositories, open_save_store
from s3 import S3
from waiting import wait_until

pytestmark = needs_restic

MB = 1_000_000
LARGE = 20 * MB
LINE = {"save_upload_kib_s": "5000", "save_download_kib_s": "5000"}
"""Four seconds for what is large: harm is done in its midst, however fast the machine."""


@dataclass
class Site:
    """One Overworld whose saves are in a bucket on a disk of its own, and one server of it."""

    installation: Installation
    s3: S3
    api: httpx.Client
    server_id: str

    @property
    def world(self) -> Path:
        """The present world: the newest, for nothing is undone here."""
        return newest_world(self.installation, self.server_id)

    @property
    def packs(self) -> list[Path]:
        """What the bucket has of the server's files."""
        return list((self.s3.bucket / "worlds" / self.server_id / "data").rglob("?" * 64))

    def kept(self) -> list[str]:
        """Its saves that are in the store, newest first."""
        return [each["id"] for each in saves(self.api, self.server_id) if each["state"] == "kept"]

    def tags(self) -> set[str]:
        """What the store itself says of the newest save: a recovery may have nothing else to go by."""
        given = {name.lower(): value for name, value in self.installation.environment.items()}
        settings = Settings(**{name[10:]: value for name, value in given.items() if name.startswith("overworld_")})  # type: ignore[arg-type]
        store, _ = open_save_store(settings)
        with closing(open_database(settings, "tests")) as database:
            repository = asyncio.run(open_repositories(settings, database).find(self.server_id))
        return set(asyncio.run(store.snapshots(repository))[-1].tags)

    def ask_save(self) -> dict[str, Any]:
        """The operation of a save that has much to send."""
        (self.world / "large").write_bytes(os.urandom(LARGE))
        operation: dict[str, Any] = json_of(self.api.post(f"/servers/{self.server_id}/saves", json={}))
        return operation

    def ask_restore(self, save_id: str) -> dict[str, Any]:
        """The operation of a restore."""
        asked = self.api.post(f"/servers/{self.server_id}/restore", json={"save_id": save_id})
        operation: dict[str, Any] = json_of(asked)
        return operation

    def until_sending(self) -> None:
        """A save has put something into the bucket that is not whole without more."""
        before = set(self.packs)
        wait_until(lambda: set(self.packs) - before, 60, "the first of it arrives")

    def until_restoring(self) -> None:
        """A restore has begun to make a world."""
        wait_until(lambda: self.half_made, 60, "a world is being made")

    @property
    def half_made(self) -> list[Path]:
        """Worlds that are no worlds yet."""
        return list((self.installation.folder / "servers" / self.server_id / "world").glob(".making-*"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Little patience, and a deadline that a test can wait for."""
    with ExitStack() as stack:
        folder = stack.enter_context(folder_for_everybody())
        disk = stack.enter_context(small_disk(folder / "disk", "300m"))
        s3 = stack.enter_context(S3(disk / "s3"))
        limits = {"save_store_patience": "3", "save_deadline": "15", "save_silence": "5", "undo": "0"}
        installation = stack.enter_context(saving_installation(**s3.settings(), **limits, **LINE))
        api = stack.enter_context(installation.api())
        server_id = create(api, "diary")
        json_of(api.patch(f"/servers/{server_id}/save-policy", json=keep_last(1)))
        yield Site(installation, s3, api, server_id)


def test_a_world_lives_in_a_bucket(site: Site) -> None:
    """Saved, let go of by its policy (what nobody needs leaves the bucket), looked through, proven, and restored. One
    that is being restored stays meanwhile, though the one taken before it makes one too many."""
    for _ in range(3):
        succeed(site.api, site.api.get(f"/operations/{site.ask_save()['id']}"))
        assert saves(site.api, site.server_id)[0]["seconds"] > 2, "what was sent while the game went on counts too"
    (kept,) = site.kept()
    assert LARGE < sum(path.stat().st_size for path in site.packs) < 2 * LARGE
    succeed(site.api, site.api.post(f"/servers/{site.server_id}/check-saves"))
    succeed(site.api, site.api.post(f"/servers/{site.server_id}/prove", json={}))
    large = (site.world / "large").read_bytes()
    (site.world / "large").write_bytes(b"spoilt")
    succeed(site.api, site.api.get(f"/operations/{site.ask_restore(kept)['id']}"))
    assert (site.world / "large").read_bytes() == large
    save(site.api, site.server_id)
    assert kept not in site.kept()


Fault = Callable[[Site], Callable[[], None]]
"""Does harm; what it returns mends it."""


def another_key(site: Site) -> Callable[[], None]:
    """The store knows the key no more."""
    site.s3.stop()
    site.s3.start(secret="another")

    def mend() -> None:
        site.s3.stop()
        site.s3.start()

    return mend


def no_bucket(site: Site) -> Callable[[], None]:
    """The bucket is not there any more."""
    site.s3.stop()
    away = site.s3.bucket.rename(site.s3.folder.parent / "away")
    site.s3.start()

    def mend() -> None:
        site.s3.stop()
        away.rename(site.s3.bucket)
        site.s3.start()

    return mend


def hung(site: Site) -> Callable[[], None]:
    """The store takes connections and answers nothing."""
    site.s3.freeze()
    return site.s3.thaw


def away(site: Site) -> tuple[dict[str, Any], Callable[[], None]]:
    """A save in whose midst the store goes away, and what brings it back."""
    asked = site.ask_save()
    site.until_sending()
    site.s3.stop()
    return asked, site.s3.start


def full(site: Site) -> tuple[dict[str, Any], Callable[[], None]]:
    """A save for half of which the store has room, and what makes room."""
    filler = site.s3.folder.parent / "filler"
    disk = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_bsize - LARGE // 2)
    return site.ask_save(), filler.unlink


def damaged(site: Site) -> Callable[[], None]:
    """The store has changed what it was given."""
    whole = {path: path.read_bytes() for path in site.packs}
    for path, content in whole.items():
        path.write_bytes(bytes(len(content)))

    def mend() -> None:
        for path, content in whole.items():
            path.write_bytes(content)

    return mend


in_soak = pytest.mark.skipif(not os.environ.get("OVERWORLD_SOAK"), reason="make soak: the same fault at another moment")


@pytest.mark.parametrize(
    ("fault", "reason", "mend_says"),
    [
        pytest.param(another_key, "WrongKey", "right key id", marks=in_soak),
        (no_bucket, "NoBucket", "bring it back"),
        (hung, "SaveDeadline", "try again"),
    ],
)
def test_a_save_in_whose_midst_the_store_fails(site: Site, fault: Fault, reason: str, mend_says: str) -> None:
    """It fails with a sentence that says what to do, within its deadline; the game writes, and earlier saves stay."""
    kept = site.kept()
    asked = site.ask_save()
    site.until_sending()
    mend = fault(site)
    try:
        ended = until_ended(site.api, asked)
        assert (ended["outcome"], ended["reason"]) == ("failed", reason), ended
        assert mend_says in ended["message"]
        assert events(site.api, site.server_id)[0] == "SaveFailed"
        wait_until(lambda: not (site.world / "saving-is-off").exists(), 20, "the game writes")
        assert site.kept() == kept
    finally:
        mend()
    assert save(site.api, site.server_id)["quiet"] == "quieted"


def until_put_off(site: Site, operation: dict[str, Any]) -> str:
    """What the operation says once another attempt is planned; an event says the same."""

    def look() -> str | None:
        seen = json_of(site.api.get(f"/operations/{operation['id']}"))
        assert seen["outcome"] == "running", f"{seen}"
        says = str(seen["progress"]["message"])
        return says if "Attempt" in says else None

    says = wait_until(look, 60, "another attempt is planned")
    assert events(site.api, site.server_id)[0] == "StoreUnavailable"
    return says


def test_a_store_that_hangs_keeps_no_game_from_writing(site: Site) -> None:
    """The game is told to go on while the save still waits; the save that comes of it says that it may be torn."""
    save(site.api, site.server_id)  # a short one, so that nothing is sent ahead of the next
    asked = site.ask_save()
    wait_until((site.world / "saving-is-off").exists, 30, "the game holds still")
    site.s3.freeze()
    try:
        wait_until(lambda: not (site.world / "saving-is-off").exists(), 12, "the game writes again")
        assert json_of(site.api.get(f"/operations/{asked['id']}"))["outcome"] == "running"
    finally:
        site.s3.thaw()
    assert until_ended(site.api, asked)["outcome"] == "succeeded"
    (torn,) = [each for each in saves(site.api, site.server_id) if each["id"] == site.kept()[0]]
    assert torn["quiet"] == "unquieted"
    assert "told to write again" in torn["error"]
    assert site.tags() == {torn["id"], "unquieted"}


@pytest.mark.parametrize("begin", [away, full])
def test_a_save_waits_for_a_store_that_is_away_or_full(site: Site, begin: Callable[..., Any]) -> None:
    """An event tells of it at once; meanwhile the game writes; mended, the same save succeeds and nobody has to ask."""
    asked, mend = begin(site)
    try:
        until_put_off(site, asked)
        wait_until(lambda: not (site.world / "saving-is-off").exists(), 20, "the game writes")
    finally:
        mend()
    assert until_ended(site.api, asked)["outcome"] == "succeeded"


@pytest.mark.parametrize(
    ("fault", "reason", "mend_says"),
    [
        (another_key, "WrongKey", "right key id"),
        pytest.param(no_bucket, "NoBucket", "bring it back", marks=in_soak),
        pytest.param(hung, "SaveDeadline", "try again", marks=in_soak),
        (damaged, "RepositoryDamaged", "repair"),
    ],
)
def test_a_restore_in_whose_midst_the_store_fails(site: Site, fault: Fault, reason: str, mend_says: str) -> None:
    """It fails with a sentence that says what to do; the old world is untouched and played on, and alone."""
    taken = save(site.api, site.server_id, pinned=True)
    (site.world / "mark").write_text(reason)
    before = worlds(site.installation, site.server_id)
    asked = site.ask_restore(taken["id"])
    site.until_restoring()
    mend = fault(site)
    try:
        ended = until_ended(site.api, asked)
        assert (ended["outcome"], ended["reason"]) == ("failed", reason), ended
        assert mend_says in ended["message"]
        assert events(site.api, site.server_id)[0] == "RestoreFailed"
        assert show(site.api, site.server_id)["state"] == "running"
        assert worlds(site.installation, site.server_id) == before
        assert site.half_made == []
        assert (site.world / "mark").read_text() == reason
    finally:
        mend()
    succeed(site.api, site.api.get(f"/operations/{site.ask_restore(taken['id'])['id']}"))
    assert not (site.world / "mark").exists()


def test_a_restore_waits_for_a_store_that_is_away(site: Site) -> None:
    """The game is played on meanwhile; once the store is back the same restore succeeds and nobody has to ask."""
    taken = save(site.api, site.server_id)
    (site.world / "mark").write_text("away")
    asked = site.ask_restore(taken["id"])
    site.until_restoring()
    site.s3.stop()
    try:
        until_put_off(site, asked)
        assert show(site.api, site.server_id)["state"] == "running"
        assert (site.world / "mark").read_text() == "away"
    finally:
        site.s3.start()
    assert until_ended(site.api, asked)["outcome"] == "succeeded"
    assert not (site.world / "mark").exists()


def test_single_files_of_a_store_that_is_away_stop_no_game(site: Site) -> None:
    """They are looked for first, so that nobody is thrown out for a store that may be away for hours; who downloads
    them meanwhile is told so."""
    taken = save(site.api, site.server_id)
    (site.world / "page-0").write_text("spoilt")
    site.s3.stop()
    try:
        asked = json_of(
            site.api.post(f"/servers/{site.server_id}/restore", json={"save_id": taken["id"], "paths": ["page-0"]})
        )
        until_put_off(site, asked)
        assert show(site.api, site.server_id)["state"] == "running"
        assert "Stopped" not in events(site.api, site.server_id)
        for wanted in ({"path": "page-0"}, {"archive": "zip"}):
            refused = site.api.get(f"/saves/{taken['id']}/content", params=wanted)
            assert (refused.status_code, refused.json()["title"]) == (503, "The save store does not answer")
    finally:
        site.s3.start()
    assert until_ended(site.api, asked)["outcome"] == "succeeded"
    assert (site.world / "page-0").read_text() != "spoilt"


def test_a_disk_that_fills_in_mid_restore_leaves_the_old_world() -> None:
    """The restore fails and says which disk; the game is played on, and what was written of the new world is gone. With
    more room it succeeds."""
    with saving_installation(disk="110m") as installation, installation.api() as api:
        server_id = create(api, "diary")
        world = worlds(installation, server_id)[1]
        (world / "large").write_bytes(os.urandom(60 * MB))
        taken = save(api, server_id)
        (world / "mark").write_text("old")
        servers = installation.folder / "servers"
        free = os.statvfs(servers).f_bfree
        asked = json_of(api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"]}))
        ended = until_ended(api, asked)
        assert (ended["outcome"], ended["reason"]) == ("failed", "DiskFull"), ended
        assert "make room on it" in ended["message"]
        assert events(api, server_id)[0] == "RestoreFailed"
        assert show(api, server_id)["state"] == "running"
        assert [path.name for path in (servers / server_id / "world").iterdir() if path.is_dir()] == ["1"]
        assert (world / "mark").read_text() == "old"
        assert os.statvfs(servers).f_bfree > free * 0.9
        grow_disk(servers, "300m")
        succeed(api, api.post(f"/servers/{server_id}/restore", json={"save_id": taken["id"]}))
        assert len(worlds(installation, server_id)) == 2
        assert not (newest_world(installation, server_id) / "mark").exists()
