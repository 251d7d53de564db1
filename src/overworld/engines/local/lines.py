"""Reading a server's console log, as its keeper writes it: ``<id> <text>`` a line, ids ascending."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from overworld.engines.base import Line

_BLOCK = 64 * 1024


def make_line(line_id: int, text: str) -> Line:
    """A line whose id, microseconds since the epoch, is its time too."""
    return Line(id=str(line_id), at=datetime.fromtimestamp(line_id / 1_000_000, UTC), text=text)


def read_lines(run: Path, *, after: int, limit: int) -> list[Line]:
    """The newest ``limit`` lines with ids above ``after``, oldest first. Reads no more of the log than it needs."""
    found: list[Line] = []
    for line_id, text in _backwards(run):
        if line_id <= after or len(found) == limit:
            break
        found.append(make_line(line_id, text))
    found.reverse()
    return found


def last_id(run: Path) -> int:
    """The id of the newest line, 0 where there is none."""
    return next((line_id for line_id, _ in _backwards(run)), 0)


def _backwards(run: Path) -> Iterator[tuple[int, str]]:
    """Newest first. Rotation between opening the two files shows lines twice, never hides one; such are left out."""
    newest = None
    for name in ("console.log", "console.log.1"):
        with suppress(FileNotFoundError):
            for raw in _lines_backwards(run / name):
                head, _, text = raw.partition(b" ")
                if not head.isdigit() or (newest is not None and int(head) >= newest):
                    continue  # torn by a full disk
                newest = int(head)
                yield newest, text.decode("utf-8", "replace")


def _lines_backwards(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        position = file.seek(0, 2)
        rest = b""
        is_end = True
        while position > 0:
            size = min(_BLOCK, position)
            position -= size
            file.seek(position)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            if is_end and lines:
                lines.pop()  # what follows the last line end is still being written
                is_end = False
            yield from reversed(lines)
        if rest and not is_end:
            yield rest
