"""What restic answers, in the port's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from overworld.domain.errors import NoSuchSave, SaveError, SaveIncomplete
from overworld.saves import faults
from overworld.saves.base import FileKind, OnProgress, Progress, RepositorySize, SavedFile, SaveResult, Snapshot

_KINDS = {"file": FileKind.FILE, "dir": FileKind.FOLDER, "symlink": FileKind.LINK}
_PERMISSIONS = 0o777
_SPECIAL_BITS = ((1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000))  # Go's setuid, setgid, sticky (io/fs)
_AMOUNT = re.compile(r"^(?P<what>[a-z ]+?):.*?(?P<number>[0-9.]+) (?P<unit>[KMGT]?i?B)\b")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


@dataclass(slots=True)
class Heard:
    """What the JSON lines of one run said."""

    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    on_progress: OnProgress | None = None

    def take(self, message: Any) -> None:
        if isinstance(message, list):
            self.rows += message
        elif message.get("message_type") == "summary" or "total_size" in message:
            self.summary = message
            if self.on_progress is not None:
                self.on_progress(all_done(message))
        elif message.get("message_type") == "status":
            if self.on_progress is not None:
                self.on_progress(progress(message))
        else:
            self.rows.append(message)


def progress(message: dict[str, Any]) -> Progress:
    """A line of progress; a save's files and bytes are those looked at, a restore's those written."""
    return Progress(
        files_done=message.get("files_done", message.get("files_restored", 0)),
        bytes_done=message.get("bytes_done", message.get("bytes_restored", 0)),
        bytes_total=message.get("total_bytes"),
    )


def all_done(summary: dict[str, Any]) -> Progress:
    """What the summary says as the last line of progress: restic itself tells none of what ends within its interval."""
    done = summary.get("total_bytes_processed", summary.get("bytes_restored", 0))
    return Progress(
        files_done=summary.get("total_files_processed", summary.get("files_restored", 0)),
        bytes_done=done,
        bytes_total=done,
    )


def save_result(summary: dict[str, Any], words: Iterable[str], seconds: float) -> SaveResult:
    """The result of a save. Raises ``SaveIncomplete`` if something could not be read that is still there, or
    ``RepositoryDamaged`` if what could not be read was the save before."""
    vanished, missed = [], []
    for sentence in words:
        path = faults.vanished_path(sentence)
        if path is not None:
            vanished.append(path)
        elif not sentence.startswith("Warning: at least one source file"):
            missed.append(sentence)
    if any(faults.says_damage(sentence) for sentence in missed):
        raise faults.derive_damage(missed)
    errors = [sentence for sentence in missed if sentence.startswith("/")]
    if errors:
        raise SaveIncomplete(
            f"Files of the world could not be read: {faults.shorten(errors[0])}", snapshot_id=summary["snapshot_id"]
        )
    return SaveResult(
        snapshot_id=summary["snapshot_id"],
        bytes_total=summary["total_bytes_processed"],
        bytes_new=summary["data_added_packed"],
        files=summary["total_files_processed"],
        seconds=seconds,
        vanished=tuple(vanished),
    )


def snapshot(row: dict[str, Any]) -> Snapshot:
    """One row of ``restic snapshots``."""
    return Snapshot(row["id"], _time(row["time"]), tuple(row.get("tags") or ()))


def retagged(rows: Iterable[dict[str, Any]]) -> str:
    """The id that ``restic tag`` gave the one snapshot. Raises ``NoSuchSave`` if it found none."""
    for row in rows:
        return str(row["new_snapshot_id"])
    raise NoSuchSave("The save store has no such save.")


def saved_file(row: dict[str, Any]) -> SavedFile:
    """One node of ``restic ls``."""
    mode = row.get("mode", 0)
    return SavedFile(
        path=row["path"],
        kind=_KINDS.get(row["type"], FileKind.OTHER),
        size=row.get("size", 0),
        mode=mode & _PERMISSIONS | sum(unix for go, unix in _SPECIAL_BITS if mode & go),
        modified_at=_time(row["mtime"]),
    )


def repository_size(lines: Iterable[str]) -> RepositorySize:
    """What ``restic prune --dry-run -v`` found: it is the only command that weighs both."""
    amounts = {}
    for line in lines:
        found = _AMOUNT.match(line.strip())
        if found:
            amounts[found["what"]] = round(float(found["number"]) * _UNITS[found["unit"]])
    try:
        stored = amounts["total"] + amounts.get("unreferenced", 0)
        return RepositorySize(bytes_stored=stored, bytes_used=min(stored, amounts["used"]))
    except KeyError as error:
        raise SaveError(f"restic did not say {error} of the repository: is it a newer one?") from error


def _time(text: str) -> datetime:
    if text.startswith("0000-"):  # restic's first year, and of some file systems; no calendar of Python's has it
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text))
