"""Trees of files for the tests of saves: made from a description, and read back as everything that a save must keep."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

NAMES = st.one_of(
    st.sampled_from(
        ["a", "region", "r.0.0.mca", "with space", "-dash", "*?[x]", "back\\slash", "$HOME", "new\nline", "ä"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(["世" * 85, "n" * 255, "e\u0301", ".hidden", "...", "~", "Ünïcödé 🎮"]),
).filter(lambda name: name not in {".", ".."} and len(name.encode()) <= 255)
TIMES = st.integers(min_value=0, max_value=4_000_000_000_000_000_000)  # nanoseconds: 1970 to 2096


@dataclass(frozen=True)
class Entry:
    """One thing to make. ``kind``: file, folder, link, hard (a second name of an earlier file), fifo, sparse."""

    kind: str
    name: str
    below: int  # which of the folders made so far
    mode: int
    mtime_ns: int
    content: bytes
    owner: int


ENTRIES = st.lists(
    st.builds(
        Entry,
        kind=st.sampled_from(["file", "file", "folder", "folder", "link", "hard", "fifo", "sparse"]),
        name=NAMES,
        below=st.integers(0, 100),
        mode=st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0o6711, 0o400, 0o444, 0o000, 0o777]),
        mtime_ns=TIMES,
        content=st.binary(max_size=200),
        owner=st.integers(0, 70_000),
    ),
    max_size=25,
)


def make_tree(root: Path, entries: list[Entry]) -> None:
    """Make them below ``root`` (made too). What cannot be (a name twice, nothing to link to) is left out."""
    root.mkdir()
    folders: list[Path] = [root]
    files: list[Path] = []
    made: list[tuple[Path, Entry]] = []
    for entry in entries:
        path = folders[entry.below % len(folders)] / entry.name
        if os.path.lexists(path) or len(os.fsencode(path)) > 3500 or (entry.kind == "hard" and not files):
            continue
        match entry.kind:
            case "file":
                path.write_bytes(entry.content)
                files.append(path)
            case "sparse":
                with path.open("wb") as file:
                    file.write(entry.content)
                    file.seek(3_000_000)
                    file.write(b"end" + entry.content)
                    file.truncate(8_000_000)
            case "folder":
                path.mkdir()
                folders.append(path)
            case "link":
                path.symlink_to(entry.content.replace(b"\0", b"").decode("utf-8", "replace") or "nowhere")
            case "hard":
                os.link(files[entry.below % len(files)], path)
                continue
            case "fifo":
                os.mkfifo(path)
        made.append((path, entry))
    for path, entry in reversed(made):  # a folder after what is in it, whose making changed its time
        if os.geteuid() == 0:
            os.chown(path, entry.owner, entry.owner, follow_symlinks=False)
        if entry.kind != "link":
            mode = entry.mode if os.geteuid() == 0 else entry.mode | (0o700 if entry.kind == "folder" else 0o400)
            path.chmod(mode)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def read_tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Of every path below ``root``: type and mode, owner, time (ns), size, content or target, and its hard links."""
    found: dict[str, tuple[object, ...]] = {}
    names: dict[tuple[int, int], list[str]] = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, root)
            names.setdefault((status.st_dev, status.st_ino), []).append(relative)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = (status.st_size, hashlib.sha256(Path(path).read_bytes()).hexdigest())
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[relative] = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, content)
    for same in names.values():
        for name in same:
            found[name] = (*found[name], tuple(sorted(same)))
    return found
