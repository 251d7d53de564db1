"""A restored tree beside the present one: what must be the same, and what may have changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overworld.domain.errors import EngineRefused
from overworld.engines import agent
from overworld.worker.comparing import compare, read_tree
from overworld.worker.placing import put_in_place, settle_staged
from overworld.worker.snapshots import STAGING


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two empty folders."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path / "a", tmp_path / "b"


def fill(folder: Path, text: str = "same") -> None:
    """A file in a folder, with a fixed time."""
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text(text)
    os.utime(folder / "deep" / "file", ns=(10**18, 10**18))


def test_equal_trees(folders: tuple[Path, Path]) -> None:
    """Nothing differs, and every file is known to be the same."""
    for folder in folders:
        fill(folder)
    compared = compare(read_tree(folders[0]), read_tree(folders[1]), saved_at=2e9, is_still=True)
    assert (compared.files, compared.equal, compared.differences) == (1, 1, ())


def test_other_content_under_the_same_time_is_a_difference(folders: tuple[Path, Path]) -> None:
    """A file that says that it did not change, and did."""
    fill(folders[0], "same")
    fill(folders[1], "sane")
    compared = compare(read_tree(folders[0]), read_tree(folders[1]), saved_at=2e9, is_still=False)
    assert compared.differences == ("deep/file: another sha256",)


def test_what_changed_since_may_differ(folders: tuple[Path, Path]) -> None:
    """Unless nothing can have changed."""
    fill(folders[0])
    fill(folders[1])
    (folders[1] / "deep" / "file").write_text("played on")
    trees = read_tree(folders[0]), read_tree(folders[1])
    assert compare(*trees, saved_at=1e9 + 1, is_still=False).differences == ()
    assert len(compare(*trees, saved_at=1e9 + 1, is_still=True).differences) == 1


def test_a_lost_file_is_a_difference_only_where_nothing_changed(folders: tuple[Path, Path]) -> None:
    """A game may remove its files."""
    fill(folders[0])
    trees = read_tree(folders[0]), read_tree(folders[1])
    assert compare(*trees, saved_at=2e9, is_still=False).differences == ()
    assert compare(*trees, saved_at=2e9, is_still=True).differences != ()


def test_copies_of_databases_take_their_places(folders: tuple[Path, Path]) -> None:
    """Over what is there, and nothing is left of the folder that they came in."""
    world, _ = folders
    (world / STAGING / "world").mkdir(parents=True)
    (world / STAGING / "world" / "map.sqlite").write_text("the copy")
    (world / "world").mkdir()
    (world / "world" / "map.sqlite").mkdir()
    assert settle_staged(world) == ("world/map.sqlite",)
    assert (world / "world" / "map.sqlite").read_text() == "the copy"
    assert not (world / STAGING).exists()
    assert settle_staged(world) == ()


def test_no_link_of_a_hostile_world_is_followed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """A link in the place of a folder leads nowhere: what lies behind it stays as it is."""
    world, _ = folders
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("untouched")
    (world / STAGING / "world").mkdir(parents=True)
    (world / STAGING / "world" / "secret").write_text("planted")
    (world / "world").symlink_to(outside)
    with pytest.raises(Exception, match="link"):
        settle_staged(world)
    assert (outside / "secret").read_text() == "untouched"


def test_single_paths_replace_whatever_was_there(folders: tuple[Path, Path]) -> None:
    """A folder for a file, a file for a folder; all else stays."""
    source, target = folders
    (source / "a").mkdir()
    (source / "a" / "new").write_text("from the save")
    (source / "b").write_text("from the save")
    (target / "a").write_text("was a file")
    (target / "b" / "c").mkdir(parents=True)
    (target / "rest").write_text("stays")
    put_in_place(source, target, ["a", "b"])
    assert (target / "a" / "new").read_text() == (target / "b").read_text() == "from the save"
    assert (target / "rest").read_text() == "stays"


def test_a_tree_that_is_too_large_is_refused_in_words(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as a fault of ours: the owner of the world can do something about it."""
    fill(folders[0])
    monkeypatch.setattr(agent, "TREE_BYTES", 5)
    with pytest.raises(EngineRefused, match="names of its files"):
        read_tree(folders[0])
