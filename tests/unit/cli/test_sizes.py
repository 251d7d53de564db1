"""Sizes on the command line."""

from __future__ import annotations

import click
import pytest

from overworld.cli.sizes import SIZE


@pytest.mark.parametrize(
    ("text", "mib"),
    [("8192", 8192), ("8192MiB", 8192), ("8GiB", 8192), ("8 gib", 8192), ("1TiB", 1048576), (" 1GiB ", 1024)],
)
def test_sizes_are_read(text: str, mib: int) -> None:
    """With or without a unit, in any case."""
    assert SIZE.convert(text, None, None) == mib


@pytest.mark.parametrize("text", ["", "0", "0GiB", "8G", "8GB", "-1", "1.5GiB", "many", "9" * 20])
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    """Units that mean two things are none."""
    with pytest.raises(click.BadParameter, match="8GiB"):
        SIZE.convert(text, None, None)
