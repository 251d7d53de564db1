"""What the port of the save store promises, on a local store and on S3."""

from __future__ import annotations

import io
import os
import tarfile
import time
import zipfile
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from overworld.domain.errors import BadInput, NoSuchSave, SaveError
from overworld.saves import restic
from overworld.saves.base import FileKind, Progress, Repository
from overworld.saves.options import ResticOptions
from overworld.saves.restic import Restic
from trees import read_tree

TIME = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


async def downloaded(store: Restic, repository: Repository, *words: str, **more: str) -> bytes:
    """All bytes of a download."""
    async with aclosing(store.dump(repository, *words, **more)) as stream:  # type: ignore[arg-type]
        return b"".join([chunk async for chunk in stream])


async def test_saves_are_listed_with_what_was_said_of_them(store: Restic, repository: Repository, world: Path) -> None:
    """Oldest first, by the times that were given; sizes and new bytes are told."""
    first = await store.save(repository, world, tags=["on_demand", "x=1"], at=TIME)
    second = await store.save(repository, world)
    assert (first.files, first.bytes_total) == (3, 3_000_010)
    assert first.bytes_new > 3_000_000
    assert second.bytes_new < 10_000
    snapshots = await store.snapshots(repository)
    assert [each.snapshot_id for each in snapshots] == [first.snapshot_id, second.snapshot_id]
    assert (snapshots[0].at, set(snapshots[0].tags)) == (TIME, {"on_demand", "x=1"})


async def test_a_save_is_told_of_anew(store: Restic, repository: Repository, world: Path) -> None:
    """Other tags, another id, the same save at the same time."""
    save = await store.save(repository, world, tags=["id", "quieted"], at=TIME)
    again = await store.retag(repository, save.snapshot_id, ["id", "unquieted"])
    (snapshot,) = await store.snapshots(repository)
    assert (snapshot.snapshot_id, snapshot.at, set(snapshot.tags)) == (again, TIME, {"id", "unquieted"})
    with pytest.raises(NoSuchSave):
        await store.retag(repository, save.snapshot_id, ["id"])


async def test_excluded_files_are_in_no_save(store: Restic, local: Repository, world: Path) -> None:
    """Anchored at the root with a slash, else anywhere; the same name elsewhere stays."""
    for name in ("server.jar", "logs/old.jar", "players/logs/a", "cache/a/tmp/b", "region/cache"):
        (world / name).parent.mkdir(parents=True, exist_ok=True)
        (world / name).write_text(name)
    save = await store.save(local, world, excludes=["/logs", "*.jar", "/cache/**/tmp"])
    await store.restore(local, save.snapshot_id, world.parent / "again")
    gone = {"logs", "logs/latest.log", "logs/old.jar", "server.jar", "cache/a/tmp", "cache/a/tmp/b"}
    assert set(read_tree(world)) - set(read_tree(world.parent / "again")) == gone
    save = await store.save(local, world, excludes=["logs"])
    await store.restore(local, save.snapshot_id, world.parent / "more")
    gone = {"logs", "logs/latest.log", "logs/old.jar", "players/logs", "players/logs/a"}
    assert set(read_tree(world)) - set(read_tree(world.parent / "more")) == gone


async def test_a_save_is_browsed(store: Restic, repository: Repository, world: Path) -> None:
    """Folder by folder, with kinds, sizes and modes."""
    (world / "link").symlink_to("players/ann.dat")
    (world / "players" / "ann.dat").chmod(0o4755)
    save = await store.save(repository, world)
    entries = {entry.path: entry for entry in await store.list_files(repository, save.snapshot_id)}
    assert list(entries) == ["/empty", "/link", "/logs", "/players", "/region"]
    assert entries["/link"].kind == FileKind.LINK
    assert entries["/empty"].kind == FileKind.FOLDER
    assert await store.list_files(repository, save.snapshot_id, "/empty") == ()
    (ann,) = await store.list_files(repository, save.snapshot_id, "players/")
    assert (ann.path, ann.size, ann.mode) == ("/players/ann.dat", 3, 0o4755)
    for path in ("/nowhere", "/players/ann.dat", "/../etc"):
        with pytest.raises(NoSuchSave):
            await store.list_files(repository, save.snapshot_id, path)


async def test_a_folder_of_a_save_with_more_than_can_be_kept_is_not_listed(
    store: Restic, local: Repository, world: Path
) -> None:
    """Whoever made its files, the worker does not take them all into its memory; one of them is found all the same."""
    for number in range(20):
        (world / "players" / f"{number:02}.dat").write_text("x")
    save = await store.save(local, world)
    assert len(await store.list_files(local, save.snapshot_id, "/players", most=21)) == 21
    with pytest.raises(BadInput, match="more than 20 entries"):
        await store.list_files(local, save.snapshot_id, "/players", most=20)
    found = await store.find_file(local, save.snapshot_id, "/players/07.dat")
    assert found is not None
    assert (found.path, found.size) == ("/players/07.dat", 1)
    folder = await store.find_file(local, save.snapshot_id, "players")
    assert folder is not None
    assert folder.kind == FileKind.FOLDER
    for nothing in ("/nobody", "/nobody/at/all", "/players/07.dat/x"):
        assert await store.find_file(local, save.snapshot_id, nothing) is None


async def test_a_part_lands_at_its_own_path(store: Restic, local: Repository, world: Path) -> None:
    """Single files and folders, with names that mean something to restic, and nothing else."""
    (world / "players" / "a*[b]?.dat").write_text("1")
    (world / "players" / "aX[b]y.dat").write_text("2")
    save = await store.save(local, world)
    await store.restore(
        local, save.snapshot_id, world.parent / "again", include=["players/a*[b]?.dat", "/region", "empty"]
    )
    again, before = read_tree(world.parent / "again"), read_tree(world)
    assert set(again) == {"players", "players/a*[b]?.dat", "region", "region/r.0.0.mca", "empty"}
    assert again == {name: before[name] for name in again}
    with pytest.raises(NoSuchSave, match="nowhere"):
        await store.restore(local, save.snapshot_id, world.parent / "more", include=["players", "nowhere"])


async def test_a_restore_goes_into_a_new_folder(store: Restic, local: Repository, world: Path) -> None:
    """Never over a live tree: a folder with something in it is refused and left alone."""
    save = await store.save(local, world)
    before = read_tree(world)
    with pytest.raises(SaveError, match="not empty"):
        await store.restore(local, save.snapshot_id, world)
    assert read_tree(world) == before


async def test_files_and_folders_are_downloaded(store: Restic, repository: Repository, world: Path) -> None:
    """One file as it is; a folder as zip or tar."""
    save = await store.save(repository, world)
    region = (world / "region" / "r.0.0.mca").read_bytes()
    assert await downloaded(store, repository, save.snapshot_id, "/region/r.0.0.mca") == region
    with zipfile.ZipFile(
        io.BytesIO(await downloaded(store, repository, save.snapshot_id, "/", archive="zip"))
    ) as whole:
        assert whole.read("region/r.0.0.mca") == region
    with tarfile.open(
        fileobj=io.BytesIO(await downloaded(store, repository, save.snapshot_id, "/region", archive="tar"))
    ) as tar:
        (file,) = [member for member in tar.getmembers() if member.isfile()]
        assert file.name.endswith("r.0.0.mca")
    for path in ("/nowhere", "../etc/passwd"):
        with pytest.raises(NoSuchSave):
            await downloaded(store, repository, save.snapshot_id, path)


async def test_what_is_forgotten_makes_room_after_a_prune(store: Restic, repository: Repository, world: Path) -> None:
    """Forgetting twice is no error; the size tells the waste, and a prune takes it away."""
    first = await store.save(repository, world)
    (world / "region" / "r.0.0.mca").write_bytes(os.urandom(3_000_000))
    second = await store.save(repository, world)
    for _ in range(2):
        await store.forget(repository, [first.snapshot_id])
    size = await store.size(repository)
    assert size.bytes_used < 3_100_000
    assert size.bytes_stored > 6_000_000
    await store.prune(repository)
    size = await store.size(repository)
    assert size.bytes_stored < 3_100_000
    await store.check(repository, subset=(1, 1))
    await store.restore(repository, second.snapshot_id, world.parent / "again")
    assert read_tree(world.parent / "again") == read_tree(world)
    with pytest.raises(NoSuchSave):
        await store.restore(repository, first.snapshot_id, world.parent / "more")


async def test_progress_is_told(store: Restic, local: Repository, world: Path) -> None:
    """Bytes that grow, and at the end all of them, however quick it was."""
    for number in range(20):
        (world / f"more-{number}").write_bytes(os.urandom(5_000_000))
    seen: list[Progress] = []
    saved = await store.save(local, world, progress=seen.append)
    done = [each.bytes_done for each in seen]
    assert done == sorted(done)
    assert seen[-1].bytes_done == seen[-1].bytes_total == saved.bytes_total
    again: list[Progress] = []
    await store.restore(local, saved.snapshot_id, world.parent / "again", progress=again.append)
    assert again[-1].bytes_done == saved.bytes_total


async def test_the_cache_stays_within_its_bound(
    restic_program: Path, local: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of one that works for months: it is looked at again and again."""
    monkeypatch.setattr(restic, "TRIM_EVERY_SECONDS", 0.0)
    store = Restic(restic_program, tmp_path / "cache", ResticOptions(cache_mib=1))
    await store.snapshots(local)
    left = tmp_path / "cache" / ("a" * 64)
    left.mkdir()
    (left / "index").write_bytes(bytes(2 * 2**20))
    os.utime(left, (1, 1))
    await store.snapshots(local)
    assert not left.exists()


async def test_a_line_is_not_taken_whole(restic_program: Path, local: Repository, world: Path, tmp_path: Path) -> None:
    """Three seconds' worth of a world takes more than one, either way."""
    store = Restic(restic_program, tmp_path / "cache", ResticOptions(upload_kib_s=1000, download_kib_s=1000))
    save = await store.save(local, world)
    assert save.bytes_new > 3_000_000
    assert save.seconds > 1
    began = time.monotonic()
    await store.restore(local, save.snapshot_id, tmp_path / "again")
    assert time.monotonic() - began > 1


async def test_no_world_is_no_empty_save(store: Restic, local: Repository, tmp_path: Path) -> None:
    """A folder that is not there is an error."""
    with pytest.raises(SaveError, match="no world"):
        await store.save(local, tmp_path / "nowhere")
    assert await store.snapshots(local) == ()
