"""Whatever happens to the store or the disk: an error that says what to do, and nothing that was there is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from disks import small_disk
from overworld.domain.errors import (
    DiskFull,
    NoSuchSave,
    RepositoryDamaged,
    RepositoryLocked,
    SaveDeadline,
    SaveError,
    SaveIncomplete,
    SaveStoreRefused,
    SaveStoreUnavailable,
)
from overworld.saves.base import Progress, Repository
from overworld.saves.restic import Restic
from s3 import S3
from trees import read_tree
from waiting import eventually

Restics = Callable[[], list[psutil.Process]]


async def test_a_missing_repository_is_made_only_when_that_is_meant(store: Restic, s3: S3, tmp_path: Path) -> None:
    """Where saves should be and are not, nothing new is begun: that would look as if none was ever lost."""
    for repository in (s3.location().repository("new", "x"), Repository(str(tmp_path / "new"), "x")):
        with pytest.raises(SaveStoreRefused, match="emptied") as caught:
            await store.ensure_repository(repository, may_make=False)
        assert caught.value.reason == "NoRepository"
        await store.ensure_repository(repository, may_make=True)
        await store.ensure_repository(repository, may_make=False)
        assert await store.snapshots(repository) == ()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


async def test_a_repository_whose_making_was_killed_is_made(
    store: Restic, repository: Repository, s3: S3, world: Path
) -> None:
    """Killed before its config was written, restic leaves a key with which it would never make one again."""
    config = (repository.folder or s3.bucket / "worlds" / "server") / "config"
    config.chmod(0o600)
    config.unlink()
    s3.stop()
    s3.start()
    await store.ensure_repository(repository, may_make=True)
    result = await store.save(repository, world)
    assert [each.snapshot_id for each in await store.snapshots(repository)] == [result.snapshot_id]


async def test_a_repository_that_lost_its_config_is_not_made_anew(
    store: Restic, repository: Repository, s3: S3, world: Path
) -> None:
    """It has saves: they are left as they are, for somebody who can mend it."""
    await store.save(repository, world)
    root = repository.folder or s3.bucket / "worlds" / "server"
    (root / "config").chmod(0o600)
    (root / "config").unlink()
    s3.stop()
    s3.start()
    before = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    with pytest.raises(SaveStoreRefused) as caught:
        await store.ensure_repository(repository, may_make=True)
    assert caught.value.reason == "NoRepository"
    assert sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file()) == before


async def test_a_store_that_is_down_is_unavailable(
    hasty_store: Restic, s3: S3, remote: Repository, world: Path
) -> None:
    """And when it is back, everything works."""
    s3.stop()
    with pytest.raises(SaveStoreUnavailable, match="refused"):
        await hasty_store.save(remote, world)
    s3.start()
    await hasty_store.save(remote, world)


async def test_a_store_that_is_away_for_a_moment_is_waited_for(
    store: Restic, s3: S3, remote: Repository, world: Path, restics: Restics
) -> None:
    """It dies while a save is being sent and comes back: the save is whole."""
    for number in range(8):
        (world / f"more-{number}").write_bytes(os.urandom(5_000_000))
    saving = asyncio.create_task(store.save(remote, world))
    await eventually(lambda: any((s3.bucket / "worlds/server/data").rglob("?" * 64)), 20, "the first pack arrived")
    s3.stop()
    s3.start()
    result = await saving
    await store.check(remote, subset=(1, 1))
    await store.restore(remote, result.snapshot_id, world.parent / "again")
    assert read_tree(world.parent / "again") == read_tree(world)


async def test_a_store_that_hangs_is_not_waited_for_longer_than_the_deadline(
    store: Restic, s3: S3, remote: Repository, world: Path, restics: Restics
) -> None:
    """It takes connections and never answers: the deadline passes, and no process is left."""
    s3.freeze()
    async with asyncio.timeout(60):
        with pytest.raises(SaveDeadline, match="2 s"):
            await store.save(remote, world, deadline=timedelta(seconds=2))
    assert restics() == []
    s3.thaw()
    await store.save(remote, world)


async def test_a_store_that_hangs_is_unavailable_when_patience_ends(
    hasty_store: Restic, s3: S3, remote: Repository, world: Path
) -> None:
    """The same with a long deadline."""
    s3.freeze()
    async with asyncio.timeout(60):
        with pytest.raises(SaveStoreUnavailable):
            await hasty_store.snapshots(remote)
    s3.thaw()


async def test_a_wrong_key_and_a_missing_bucket_are_refused_at_once(store: Restic, s3: S3, remote: Repository) -> None:
    """restic would try for a quarter of an hour; what only a person can mend is said after the second time."""
    for location, reason in ((s3.location(secret="wrong"), "WrongKey"), (s3.location(bucket="other"), "NoBucket")):
        with pytest.raises(SaveStoreRefused) as caught:
            await store.ensure_repository(location.repository("server", "x"), may_make=True)
        assert caught.value.reason == reason
    assert not (s3.folder / "other").exists()


async def test_a_wrong_password_is_refused(store: Restic, local: Repository) -> None:
    """And the error does not show it."""
    with pytest.raises(SaveStoreRefused) as caught:
        await store.snapshots(replace(local, password="another"))
    assert caught.value.reason == "WrongPassword"
    assert "another" not in repr(caught.value.args).replace("another installation", "")


async def test_a_full_store_keeps_what_it_had(store: Restic, template: Path, world: Path, tmp_path: Path) -> None:
    """A save that does not fit fails with a sentence; the save before is whole, and retention works."""
    with small_disk(tmp_path / "disk", "9m") as disk:
        shutil.copytree(template, disk / "server")
        repository = Repository(str(disk / "server"), "not a secret")
        first = await store.save(repository, world)
        before = read_tree(world)
        (world / "large").write_bytes(os.urandom(20_000_000))
        with pytest.raises(DiskFull, match="keeps the saves"):
            await store.save(repository, world)
        await store.restore(repository, first.snapshot_id, world.parent / "again")
        assert read_tree(world.parent / "again") == before
        await store.prune(repository, waste_percent=0, holds_lease=True)
        await store.check(repository)


async def test_a_full_disk_stops_a_restore(store: Restic, local: Repository, world: Path, tmp_path: Path) -> None:
    """It says which disk; the save is as it was."""
    save = await store.save(local, world)
    with small_disk(tmp_path / "disk", "1m") as disk, pytest.raises(DiskFull, match="make room on it"):
        await store.restore(local, save.snapshot_id, disk / "again")
    await store.check(local, subset=(1, 1))


@pytest.mark.parametrize("what", ["data", "index", "snapshots"])
@pytest.mark.parametrize("how", ["gone", "changed"])
async def test_damage_is_found_and_named(
    store: Restic, repository: Repository, s3: S3, world: Path, what: str, how: str, tmp_path: Path
) -> None:
    """A part that is missing or was changed: a check (with its data) or a restore says that the saves are damaged, and
    the world itself is untouched. A missing snapshot is no damage: the save is not there."""
    save = await store.save(repository, world)
    before = read_tree(world)
    root = repository.folder or s3.bucket / "worlds" / "server"
    part = max((path for path in (root / what).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    part.chmod(0o600)
    if how == "gone":
        part.unlink()
    else:
        whole = part.read_bytes()
        part.write_bytes(whole[:40] + b"XXXX" + whole[44:])
    shutil.rmtree(tmp_path / "cache")
    s3.stop()  # it remembers what its folders held
    s3.start()
    if (what, how) != ("snapshots", "gone"):
        with pytest.raises(RepositoryDamaged, match="repair"):
            await store.check(repository, subset=(1, 1))
    expected = NoSuchSave if (what, how) == ("snapshots", "gone") else RepositoryDamaged
    with pytest.raises(expected):
        await store.restore(repository, save.snapshot_id, tmp_path / "again")
    assert read_tree(world) == before


async def test_a_damaged_snapshot_is_not_just_missing_from_the_list(
    store: Restic, local: Repository, world: Path, tmp_path: Path
) -> None:
    """restic leaves it out and ends with 0; we do not, for retention would count wrongly."""
    save = await store.save(local, world)
    file = Path(local.url) / "snapshots" / save.snapshot_id
    file.chmod(0o600)
    file.write_bytes(b"X" * file.stat().st_size)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(RepositoryDamaged):
        await store.snapshots(local)


async def test_a_live_lock_is_respected_without_the_lease(
    store: Restic, local: Repository, world: Path, restics: Restics
) -> None:
    """While another save is at work nothing is forgotten; who holds the world's lease knows better, and goes on."""
    first = await store.save(local, world)
    for number in range(20):
        (world / f"more-{number}").write_bytes(os.urandom(5_000_000))
    saving = asyncio.create_task(store.save(local, world))
    await eventually(lambda: any((Path(local.url) / "locks").iterdir()), 20, "it has its lock")
    (other,) = restics()
    other.suspend()
    with pytest.raises(RepositoryLocked):
        await store.forget(local, [first.snapshot_id])
    await store.unlock_stale(local, holds_lease=False)
    with pytest.raises(RepositoryLocked):
        await store.prune(local)
    await store.forget(local, [first.snapshot_id], holds_lease=True)
    other.kill()
    with pytest.raises(SaveError):
        await saving
    assert await store.snapshots(local) == ()


async def test_readers_are_never_in_the_way(store: Restic, local: Repository, world: Path) -> None:
    """Lists, browsing, downloads and restores leave no lock, not even while they are at work."""
    save = await store.save(local, world)
    reading = store.dump(local, save.snapshot_id, "/", archive="tar")
    first = await anext(reading)
    await store.forget(local, ["0" * 64])
    rest = [chunk async for chunk in reading]
    assert len(first) + sum(map(len, rest)) > 3_000_000


async def test_called_off_it_leaves_nothing(store: Restic, local: Repository, world: Path, restics: Restics) -> None:
    """A cancelled save ends its program at once, which takes its lock away; what was there stays."""
    first = await store.save(local, world)
    for number in range(60):
        (world / f"more-{number}").write_bytes(os.urandom(5_000_000))
    seen: list[Progress] = []
    saving = asyncio.create_task(store.save(local, world, progress=seen.append))
    await eventually(lambda: seen or saving.done(), 60, "it makes progress")
    assert not saving.done()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert restics() == []
    assert list((Path(local.url) / "locks").iterdir()) == []
    assert [each.snapshot_id for each in await store.snapshots(local)] == [first.snapshot_id]


async def test_a_download_that_nobody_wants_any_more_ends(
    store: Restic, local: Repository, world: Path, restics: Restics
) -> None:
    """Closing the stream ends the program."""
    (world / "large").write_bytes(os.urandom(40_000_000))
    save = await store.save(local, world)
    reading = store.dump(local, save.snapshot_id, "/large")
    await anext(reading)
    assert len(restics()) == 1
    await reading.aclose()
    assert restics() == []


async def test_files_that_cannot_be_read_make_no_save(
    store: Restic, local: Repository, world: Path, unreadable: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """What was kept is named, so that the caller can forget it; it is never called a save."""
    with unreadable(world / "players" / "ann.dat"):
        with pytest.raises(SaveIncomplete, match=r"ann\.dat") as caught:
            await store.save(local, world)
        await store.forget(local, [caught.value.snapshot_id])
        assert await store.snapshots(local) == ()


async def test_files_that_vanish_while_they_are_read_are_no_fault(
    store: Restic, local: Repository, world: Path, restics: Restics
) -> None:
    """A game that removes a file during a save makes it no worse than one that removed it a moment before."""
    for number in range(300):
        (world / "players" / f"{number:03}.dat").write_bytes(os.urandom(200_000))
    saving = asyncio.create_task(store.save(local, world))
    await eventually(lambda: any((Path(local.url) / "locks").iterdir()), 20, "it begins")
    for number in range(299, 0, -1):
        (world / "players" / f"{number:03}.dat").unlink(missing_ok=True)
    result = await saving
    await store.restore(local, result.snapshot_id, world.parent / "again")
    assert set(read_tree(world)) <= set(read_tree(world.parent / "again"))
    assert all(path.endswith(".dat") for path in result.vanished)


async def test_a_killed_worker_takes_its_restic_with_it(
    store: Restic, local: Repository, world: Path, restic_program: Path, tmp_path: Path
) -> None:
    """Kill −9 of the process that holds the store: its restic is gone too, and its lock stops nobody who has the
    lease."""
    (world / "large").write_bytes(os.urandom(300_000_000))
    code = (
        "import asyncio, sys; from pathlib import Path; from overworld.saves.base import Repository;"
        "from overworld.saves.restic import Restic;"
        "asyncio.run(Restic(Path(sys.argv[1]), Path(sys.argv[2])).save("
        "Repository(sys.argv[3], 'not a secret'), Path(sys.argv[4])))"
    )
    arguments = [sys.executable, "-c", code, str(restic_program), str(tmp_path / "cache"), local.url, str(world)]
    worker = await asyncio.create_subprocess_exec(*arguments)
    locks = Path(local.url) / "locks"
    await eventually(lambda: any(locks.iterdir()), 30, "it has its lock")
    children = psutil.Process(worker.pid).children(recursive=True)
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    assert children
    await eventually(lambda: not any(child.is_running() for child in children), 10, "restic is gone")
    await store.prune(local, holds_lease=True)
    assert list(locks.iterdir()) == []
