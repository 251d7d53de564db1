"""A restored world is the saved one, byte for byte and attribute for attribute."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overworld.saves.base import Repository
from overworld.saves.program import find_restic
from overworld.saves.restic import Restic
from trees import ENTRIES, Entry, make_tree, read_tree

IS_SOAK = bool(os.environ.get("OVERWORLD_SOAK"))


@settings(
    max_examples=120 if IS_SOAK else 12, deadline=None, derandomize=not IS_SOAK, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(trees=st.lists(ENTRIES, min_size=6, max_size=6))
def test_generated_trees_come_back_exactly(trees: list[list[Entry]]) -> None:
    """Links, hard links, modes with their special bits, owners (as root), times to the nanosecond, empty folders,
    holes, pipes, and names of every kind: restored into a new folder nothing differs."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_save_and_compare(Path(name), trees))


async def _save_and_compare(folder: Path, trees: list[list[Entry]]) -> None:
    """Several trees in one save, because a save costs a second and a tree a millisecond."""
    store = Restic(find_restic(), folder / "cache")
    repository = Repository(str(folder / "saves"), "x")
    await store.ensure_repository(repository, may_make=True)
    world = folder / "world"
    world.mkdir()
    for number, tree in enumerate(trees):
        make_tree(world / str(number), tree)
    result = await store.save(repository, world)
    await store.restore(repository, result.snapshot_id, folder / "again")
    assert read_tree(folder / "again") == read_tree(world)


async def test_holes_stay_holes(store: Restic, local: Repository, tmp_path: Path) -> None:
    """A file of 64 MiB that takes next to nothing on the disk takes next to nothing when it is restored."""
    (tmp_path / "world").mkdir()
    with (tmp_path / "world" / "sparse").open("wb") as file:
        file.truncate(2**26)
        file.seek(2**25)
        file.write(b"x")
    await store.ensure_repository(local, may_make=True)
    result = await store.save(local, tmp_path / "world")
    await store.restore(local, result.snapshot_id, tmp_path / "again")
    status = (tmp_path / "again" / "sparse").stat()
    assert status.st_size == 2**26
    assert status.st_blocks * 512 < 2**24


async def test_a_socket_that_a_game_left_stops_nothing(store: Restic, local: Repository, world: Path) -> None:
    """Sockets mean nothing without their process: a world with one is saved and restored, without it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(world / "sock"))
    listener.close()
    await store.ensure_repository(local, may_make=True)
    result = await store.save(local, world)
    await store.restore(local, result.snapshot_id, world.parent / "again")
    again = read_tree(world.parent / "again")
    expected = {name: seen for name, seen in read_tree(world).items() if name != "sock"}
    assert again == expected


async def test_an_edited_world_is_saved_as_it_is_now(store: Restic, local: Repository, world: Path) -> None:
    """The second save has the edit of the same size, the new file and not the removed one; the first is as it was."""
    await store.ensure_repository(local, may_make=True)
    first = await store.save(local, world)
    before = read_tree(world)
    (world / "players" / "ann.dat").write_bytes(b"bob")
    (world / "players" / "new").write_bytes(b"new")
    (world / "empty").rmdir()
    second = await store.save(local, world)
    assert second.bytes_new < 100_000
    await store.restore(local, second.snapshot_id, world.parent / "second")
    await store.restore(local, first.snapshot_id, world.parent / "first")
    assert read_tree(world.parent / "second") == read_tree(world)
    assert read_tree(world.parent / "first") == before
