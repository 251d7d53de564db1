"""Kill −9 of restic at random moments: no snapshot is lost, no lock sticks, retention still works."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from overworld.domain.errors import SaveCancelled
from overworld.saves.base import Repository, SaveResult
from overworld.saves.restic import Restic
from trees import read_tree
from waiting import eventually

ROUNDS = 150 if os.environ.get("OVERWORLD_SOAK") else 8
SEED = int(os.environ.get("TEST_SEED", random.SystemRandom().randrange(10**9)))
LONGEST_SECONDS = 1.0  # a small save, forget or prune takes about this long


async def work(verb: str, store: Restic, repository: Repository, world: Path, doomed: str | None) -> SaveResult | None:
    """One of the three."""
    if verb == "save":
        return await store.save(repository, world, holds_lease=True)
    if verb == "forget":
        await store.forget(repository, [doomed] if doomed else [], holds_lease=True)
    else:
        await store.prune(repository, waste_percent=0, holds_lease=True)
    return None


@pytest.mark.timeout(3600 if os.environ.get("OVERWORLD_SOAK") else 120)
async def test_killed_at_random_moments(
    store: Restic, repository: Repository, world: Path, restics: Callable[[], list[psutil.Process]]
) -> None:
    """Saves, forgets and prunes are killed; after each, every save that was reported is there, the next forget and
    prune work, and at the end the repository is whole and its newest save restores exactly."""
    print(f"TEST_SEED={SEED}")
    chance = random.Random(SEED)
    kept = [(await store.save(repository, world)).snapshot_id]
    deaths = 0
    for _ in range(ROUNDS):
        (world / "players" / f"{chance.randrange(5)}.dat").write_bytes(chance.randbytes(400_000))
        verb = chance.choice(["save", "save", "forget", "prune"])
        doomed = kept[0] if verb == "forget" and len(kept) > 1 else None
        task = asyncio.create_task(work(verb, store, repository, world, doomed))
        await eventually(lambda: task.done() or restics(), 30, "it is at work")  # noqa: B023
        await asyncio.wait([task], timeout=chance.uniform(0, LONGEST_SECONDS))
        for process in restics():
            process.kill()
            deaths += 1
        try:
            result = await task
        except SaveCancelled:
            result = None
        if result is not None:
            kept.append(result.snapshot_id)
        there = {snapshot.snapshot_id for snapshot in await store.snapshots(repository)}
        if doomed is not None and doomed not in there:
            kept.remove(doomed)
        assert set(kept) <= there, f"lost after {verb}"
        # A save can be whole in the store though its process died before it could say so: such ones nobody counts.
        await store.forget(repository, sorted(there - set(kept)), holds_lease=True)
    assert deaths > 0
    last = await store.save(repository, world, holds_lease=True)
    await store.forget(repository, kept, holds_lease=True)
    await store.prune(repository, waste_percent=0, holds_lease=True)
    await store.check(repository, subset=(1, 1))
    assert [each.snapshot_id for each in await store.snapshots(repository)] == [last.snapshot_id]
    await store.restore(repository, last.snapshot_id, world.parent / "again")
    assert read_tree(world.parent / "again") == read_tree(world)
    size = await store.size(repository)
    assert size.bytes_stored == size.bytes_used
