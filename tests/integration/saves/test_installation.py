"""The installation's own repository: what programs print is saved whole or not at all, and two passwords open it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from overworld.domain.errors import SaveError, SaveStoreRefused
from overworld.domain.programs import Program
from overworld.saves.base import Repository
from overworld.saves.installation import InstallationStore
from overworld.saves.recovery_key import new_recovery_key


@pytest.fixture
async def store(restic_program: Path, tmp_path: Path, repository: Repository) -> InstallationStore:
    """A real one; its repository is made."""
    made = InstallationStore(restic_program, tmp_path / "cache")
    await made.ensure_repository(repository, may_make=True)
    return made


async def read(store: InstallationStore, repository: Repository, snapshot_id: str, name: str) -> bytes:
    """A file of a snapshot."""
    return b"".join([chunk async for chunk in store.dump(repository, snapshot_id, f"/{name}")])


async def test_what_a_program_prints_is_saved(store: InstallationStore, repository: Repository) -> None:
    """As one file, with its tags; what it had before is not sent again."""
    script = "i=0; while [ $i -lt 200000 ]; do echo $i $SECRET; i=$((i+1)); done"
    program = Program(["/bin/sh", "-c", script], {"SECRET": "word"})
    first = await store.save_output(repository, "printed", program, tags=["database", "claim-1-a"])
    second = await store.save_output(repository, "printed", program, tags=["database"])
    assert second.bytes_new < first.bytes_new / 20
    assert (await read(store, repository, first.snapshot_id, "printed")).startswith(b"0 word\n1 word\n")
    (found, _) = await store.snapshots(repository)
    assert set(found.tags) == {"database", "claim-1-a"}


async def test_a_program_that_fails_leaves_no_snapshot(store: InstallationStore, repository: Repository) -> None:
    """Half a dump must never look like a whole one; the program's own words are in the error."""
    program = Program(["/bin/sh", "-c", "echo half of it; echo the database is away >&2; exit 3"])
    with pytest.raises(SaveError, match="exit status 3"):
        await store.save_output(repository, "printed", program, tags=["database"])
    assert await store.snapshots(repository) == ()


async def test_given_bytes_come_back(store: InstallationStore, repository: Repository, tmp_path: Path) -> None:
    """They were on no disk on their way."""
    content = b"a secret that nobody else should see" * 1000
    saved = await store.save_bytes(repository, "facts.json", content, tags=["facts"])
    assert await read(store, repository, saved.snapshot_id, "facts.json") == content
    left = [
        path for path in (tmp_path / "cache").rglob("*") if path.is_file() and b"a secret that" in path.read_bytes()
    ]
    assert left == []


async def test_the_newest_recovery_key_alone_opens_it(
    store: InstallationStore, repository: Repository, tmp_path: Path
) -> None:
    """Besides Overworld's own password, which stays; no key is left on a disk."""
    first, second = new_recovery_key(), new_recovery_key()
    await store.replace_recovery_key(repository, first)
    saved = await store.save_bytes(repository, "facts.json", b"{}", tags=["facts"])
    assert await read(store, replace(repository, password=first), saved.snapshot_id, "facts.json") == b"{}"
    await store.replace_recovery_key(repository, second)
    with pytest.raises(SaveStoreRefused, match="password"):
        await store.snapshots(replace(repository, password=first))
    assert len(await store.snapshots(replace(repository, password=second))) == 1
    assert len(await store.snapshots(repository)) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file() and second.encode() in path.read_bytes()] == []


async def test_a_dump_and_another_at_once_are_both_there(store: InstallationStore, repository: Repository) -> None:
    """Nobody waits for the lock of somebody who only adds."""
    program = Program(["/bin/sh", "-c", "echo $$"])
    began = datetime.now(UTC) - timedelta(seconds=1)
    await asyncio.gather(*(store.save_output(repository, "printed", program, tags=["database"]) for _ in range(2)))
    found = await store.snapshots(repository)
    assert len(found) == 2
    assert all(each.at > began for each in found)
