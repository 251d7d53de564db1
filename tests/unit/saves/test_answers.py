"""What restic answers of files as odd as a game can make them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from overworld.saves.answers import saved_file


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("2024-02-29T12:00:00.123456789Z", datetime(2024, 2, 29, 12, 0, 0, 123456, UTC)),
        ("0000-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
        ("0000-12-31T23:59:59.5Z", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_every_time_that_a_file_can_have_is_read(said: str, read: datetime) -> None:
    """Of a year that Python does not know too: one such file must not keep a whole folder from being listed."""
    row = {"path": "/a", "type": "file", "mtime": said}
    assert saved_file(row).modified_at == read
