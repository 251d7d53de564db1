"""Paths of a world, as restic reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from overworld.domain.errors import BadInput, NoSuchSave
from overworld.saves import patterns


def test_excludes_are_relative_to_the_world() -> None:
    """Anchored with a slash before, anywhere without; what is special in the world's own path is not."""
    root = Path("/data/[1]/world")
    assert patterns.exclude("/logs", root) == "/data/\\[1]/world/logs"
    assert patterns.exclude("*.jar", root) == "/data/\\[1]/world/**/*.jar"


@pytest.mark.parametrize("pattern", ["", "/", "../other", "/a/../b", "a\0b"])
def test_an_exclude_that_names_nothing_in_the_world_is_refused(pattern: str) -> None:
    """Rather than excluding everything, or nothing."""
    with pytest.raises(BadInput):
        patterns.exclude(pattern, Path("/world"))


def test_includes_are_literal() -> None:
    """A name is a name, whatever is in it."""
    assert patterns.include("a/[b]*?\\c/") == "/a/\\[b]\\*\\?\\\\c"


@pytest.mark.parametrize("path", ["..", "a/../../b", "a\0"])
def test_no_path_leads_out_of_a_save(path: str) -> None:
    """It is not there."""
    with pytest.raises(NoSuchSave):
        patterns.absolute(path)


@pytest.mark.parametrize("word", ["latest", "", "-x", "abc", "ABCDEF0123", "deadbeef:/sub", "deadbeef extra"])
def test_only_ids_are_ids(word: str) -> None:
    """What restic would read otherwise does not reach it."""
    with pytest.raises(NoSuchSave):
        patterns.checked_id(word)
    assert patterns.checked_id("deadbeef") == "deadbeef"
