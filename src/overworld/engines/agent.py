"""The world agent: touches the files of one world, never anything outside of it. One file, standard library only.

    agent.py VERB [UID GID]     the world is the working folder; given a user, every right but that user's is gone
                                before the first byte of the request is read

Standard input: one line of JSON (the request), then for ``write`` and ``upload`` the body. Standard output:
``{"item": …}`` lines, and at the end exactly one line ``{"done": …}`` (exit status 0) or ``{"error": {code, says}}``
(1); without one of them the answer is not whole. Raw bytes, both ways, are pieces of ``+<count>\\n`` and that many
bytes; a body ends with ``+0\\n``, so that one whose sender died is told from one that is complete.

The world is hostile: it may change while it is looked at. Every path is walked component by component by descriptors,
no link is ever followed, and nothing but regular files and folders is opened. Names are text; bytes in them that are no
UTF-8 are the characters U+10FF80 to U+10FFFF, which stand for themselves byte by byte, so that every name can be
written and none in two ways. Nothing of Overworld is imported: an image carries this file alone.
"""

# ruff: noqa: PLC0415, PLR0911 (a listing does not pay for zip and SQLite; the guards of a rename are its documentation)

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import heapq
import json
import os
import re
import resource
import signal
import stat
import sys
import time
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    import zipfile
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

DONE, REFUSED, BAD_CALL = 0, 1, 2
"""Exit statuses."""

CHUNK = 256 * 1024
REQUEST_BYTES = 256 * 1024
TEXT_BYTES = 4 * 1024 * 1024
TOLD_BYTES = 64 * 1024
"""Of the text that a write replaces and tells."""
TOLD_CHARACTERS = 16 * 1024
NAME_BYTES = 255
PATH_BYTES = 4096
DEPTH = 64
"""Components of a path that is asked for, or that an archive brings."""
WALK_DEPTH = 400
"""Folders in one another that are walked; each holds a descriptor."""
REMOVE_DEPTH = 100
TARGET_BYTES = 1024
CHECK_CHARACTERS = 300
"""Of what SQLite finds wrong with a database, in the words of whoever made it."""
PAGE = 1000
ENTRIES = 500_000
TREE_BYTES = 64 * 1024 * 1024
"""Of all the paths and targets in a tree: whoever asks for one keeps it in memory."""
FREE_BYTES = 128 * 1024 * 1024
"""Left free by every write: the game must be able to save."""
CHECK_FREE_EVERY = 32 * 1024 * 1024
MEMORY_BYTES = 1024 * 1024 * 1024
OPEN_FILES = 1024
SECONDS = 60.0
LOCK_SECONDS = 5.0
STALE_SECONDS = 3600.0
HEADER_BYTES = 4 * 1024 * 1024
"""Of an archive between two of its entries."""
XZ_MEMORY = 256 * 1024 * 1024
RATIO, RATIO_FREE_BYTES = 200, 256 * 1024 * 1024
SQLITE_MAGIC = b"SQLite format 3\0"

PATH_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
RENAME_NOREPLACE = 1
PR_SET_NO_NEW_PRIVS = 38
LIBC = ctypes.CDLL(None, use_errno=True)

_STRANGE = re.compile("[\udc80-\udcff\U0010ff80-\U0010ffff]")
_ESCAPED = re.compile("[\U0010ff80-\U0010ffff]")
_PART = re.compile(rb"\.overworld-[0-9a-f]{16}\.part")
ARCHIVE, UNPACKING = b".overworld-archive", b".overworld-unpacking"
"""An archive that was uploaded to become a world, and the folder beside it that takes what it holds."""


class Refusal(Exception):
    """Why it is not done: a code for programs, a sentence for people."""

    def __init__(self, code: str, says: str) -> None:
        super().__init__(says)
        self.code = code
        self.says = says


def show_name(raw: bytes) -> str:
    """A name or path as text; ``read_name`` gives back the same bytes."""
    text = raw.decode("utf-8", "surrogateescape")
    return _STRANGE.sub(
        lambda match: "".join(chr(0x10FF00 + byte) for byte in match[0].encode("utf-8", "surrogateescape")), text
    )


def read_name(text: str) -> bytes:
    """The bytes that ``text`` stands for. Raises Refusal for half a surrogate pair and for NUL."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refusal("bad-path", "A name holds half a character.") from None
    if "\0" in text:
        raise Refusal("bad-path", "A name cannot hold the character NUL.")
    return _ESCAPED.sub(lambda match: chr(ord(match[0]) - 0x10FF00 + 0xDC00), text).encode("utf-8", "surrogateescape")


def split_path(raw: bytes) -> list[bytes]:
    """The components of a path, which begins at the world whether or not it begins with a slash. Raises Refusal."""
    parts = [part for part in raw.split(b"/") if part]
    if b"." in parts or b".." in parts:
        raise Refusal("bad-path", "A path cannot hold . or .. as a part of it.")
    if b"\0" in raw or len(raw) > PATH_BYTES or len(parts) > DEPTH or any(len(part) > NAME_BYTES for part in parts):
        raise Refusal(
            "bad-path", f"A path may have {PATH_BYTES} bytes and {DEPTH} parts, each part {NAME_BYTES} bytes."
        )
    return parts


class Wire:
    """Standard input and output: lines of JSON, and pieces of raw bytes."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._buffer = b""

    def _line(self, most: int) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > most:
                raise Refusal("bad-request", "A line is too long.")
            data = os.read(self._source, CHUNK)
            if not data:
                raise Refusal("cut-off", "What was sent ended before its end.")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def request(self, most: int = REQUEST_BYTES) -> dict[str, Any]:
        """The request. Raises Refusal."""
        try:
            request = json.loads(self._line(most))
        except ValueError:
            raise Refusal("bad-request", "The request is not JSON.") from None
        if not isinstance(request, dict):
            raise Refusal("bad-request", "The request is not an object.")
        return request

    def body(self) -> Iterator[bytes]:
        """The pieces of the body, in pieces of CHUNK bytes at most. Raises Refusal if it ends before its end."""
        while True:
            line = self._line(32)
            if not re.fullmatch(rb"\+[0-9]{1,9}", line):
                raise Refusal("bad-request", "The body is not in pieces.")
            left = int(line[1:])
            if left == 0:
                return
            while left:
                data = self._buffer[:left] or os.read(self._source, min(left, CHUNK))
                if not data:
                    raise Refusal("cut-off", "What was sent ended before its end.")
                self._buffer = self._buffer[len(data) :] if self._buffer else b""
                left -= len(data)
                yield data

    def say(self, kind: str, content: object) -> None:
        """One line."""
        self._write(json.dumps({kind: content}, separators=(",", ":")).encode() + b"\n")

    def send(self, data: bytes) -> None:
        """One piece."""
        if data:
            self._write(b"+%d\n" % len(data) + data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._sink, view) :]


# --- walking


@contextmanager
def opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def folder_at(root: int, parts: list[bytes], *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder, for working in it and for reading it. Raises Refusal, OSError."""
    current = os.open(".", FOLDER_FLAGS, dir_fd=root)
    try:
        for index, part in enumerate(parts):
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=current)
            flags = FOLDER_FLAGS if index == len(parts) - 1 else PATH_FLAGS
            try:
                inner = os.open(part, flags, dir_fd=current)
            except OSError as error:
                if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                    raise _no_folder(current, part, parts[: index + 1]) from None
                raise
            os.close(current)
            current = inner
        yield current
    finally:
        os.close(current)


def _no_folder(folder: int, part: bytes, path: list[bytes]) -> Refusal:
    shown = show_name(b"/".join(path))
    with suppress(OSError):
        if stat.S_ISLNK(look(folder, part).st_mode):
            return Refusal("is-link", f"{shown} is a link, and links are not followed.")
    return Refusal("not-folder", f"{shown} is not a folder.")


def look(folder: int, name: bytes) -> os.stat_result:
    """What lies there, a link itself."""
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def open_file(folder: int, name: bytes) -> tuple[int, os.stat_result]:
    """A regular file, for reading. A pipe or device is never opened but by a race, and then let go unread."""
    seen = look(folder, name)
    if stat.S_ISREG(seen.st_mode):
        try:
            file = os.open(name, FILE_FLAGS, dir_fd=folder)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENXIO}:
                raise
        else:
            seen = os.fstat(file)
            if stat.S_ISREG(seen.st_mode):
                return file, seen
            os.close(file)
    raise _no_file(seen, name)


def _no_file(seen: os.stat_result, name: bytes) -> Refusal:
    shown = show_name(name)
    if stat.S_ISDIR(seen.st_mode):
        return Refusal("is-folder", f"{shown} is a folder.")
    if stat.S_ISLNK(seen.st_mode):
        return Refusal("is-link", f"{shown} is a link, and links are not followed.")
    return Refusal("not-file", f"{shown} is not a file.")


def kind_of(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "other"


def describe(folder: int, name: bytes, seen: os.stat_result) -> dict[str, Any]:
    """An entry as it is told."""
    target = None
    if stat.S_ISLNK(seen.st_mode):
        with suppress(OSError):
            target = show_name(os.readlink(name, dir_fd=folder)[:TARGET_BYTES])
    return {
        "name": show_name(name),
        "type": kind_of(seen.st_mode),
        "size": seen.st_size,
        "mode": stat.S_IMODE(seen.st_mode),
        "mtime_ns": seen.st_mtime_ns,
        "target": target,
    }


def walk(folder: int) -> Iterator[tuple[int, bytes, bytes, os.stat_result]]:
    """Everything below an open folder, parents first, each folder in the order of its names: descriptor of the parent,
    name, path from the folder, what it is. What vanishes meanwhile is left out."""
    stack: list[tuple[int, bytes, Iterator[bytes]]] = [(os.dup(folder), b"", _names(folder))]
    count = 0
    try:
        while stack:
            parent, prefix, names = stack[-1]
            name = next(names, None)
            if name is None:
                os.close(stack.pop()[0])
                continue
            try:
                seen = look(parent, name)
            except FileNotFoundError:
                continue
            count += 1
            if count > ENTRIES:
                raise Refusal("too-many", f"There are more than {ENTRIES} files and folders.")
            path = prefix + name
            yield parent, name, path, seen
            if stat.S_ISDIR(seen.st_mode):
                if len(stack) >= WALK_DEPTH:
                    raise Refusal("too-deep", f"There are more than {WALK_DEPTH} folders in one another.")
                try:
                    inner = os.open(name, FOLDER_FLAGS, dir_fd=parent)
                except OSError as error:
                    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                        continue  # it was a folder a moment ago
                    raise
                stack.append((inner, path + b"/", _names(inner)))
    finally:
        for descriptor, _, _ in stack:
            os.close(descriptor)


def _names(folder: int) -> Iterator[bytes]:
    # A scan is tied to the descriptor's position, so each needs a description of its own.
    with opened(os.open(".", FOLDER_FLAGS, dir_fd=folder)) as own, os.scandir(own) as entries:
        names = [os.fsencode(entry.name) for _, entry in zip(range(ENTRIES + 1), entries, strict=False)]
    if len(names) > ENTRIES:
        raise Refusal("too-many", f"There are more than {ENTRIES} files and folders.")
    return iter(sorted(names))


# --- writing


def check_free(folder: int, more: int = 0) -> None:
    """Raises Refusal unless so many bytes can be written with FREE_BYTES left."""
    space = os.fstatvfs(folder)
    if space.f_bavail * space.f_frsize < FREE_BYTES + more:
        raise Refusal("disk-full", f"The disk is full: {FREE_BYTES // 2**20} MiB must stay free for the game.")


@contextmanager
def new_file(folder: int) -> Iterator[tuple[int, bytes]]:
    """A new file beside its future name; gone at the end unless it was renamed."""
    _sweep(folder)
    name = b".overworld-%s.part" % os.urandom(8).hex().encode()
    file = os.open(name, NEW_FLAGS, 0o600, dir_fd=folder)
    try:
        yield file, name
    finally:
        os.close(file)
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)


def _sweep(folder: int) -> None:
    """Remove what an agent that was killed left here."""
    before = time.time() - STALE_SECONDS
    with suppress(OSError), opened(os.open(".", FOLDER_FLAGS, dir_fd=folder)) as own, os.scandir(own) as entries:
        for index, entry in enumerate(entries):
            if index > 10_000:
                return
            if _PART.fullmatch(os.fsencode(entry.name)) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if look(folder, os.fsencode(entry.name)).st_mtime < before:
                        os.unlink(entry.name, dir_fd=folder)


def fill(folder: int, file: int, body: Iterator[bytes], most: int) -> int:
    """Write the body; how many bytes. Raises Refusal if there are more than ``most`` or the disk runs full."""
    written, checked = 0, 0
    for data in body:
        written += len(data)
        if written > most:
            raise Refusal("too-large", f"A file may have {most} bytes here.")
        if written - checked >= CHECK_FREE_EVERY:
            checked = written
            check_free(folder)
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
    return written


def place(folder: int, file: int, part: bytes, name: bytes, *, absent: bool) -> bool:
    """Give the new file its name, durably; whether there was none of that name. Keeps the mode of what it replaces."""
    mode, is_new = 0o644, True
    with suppress(FileNotFoundError):
        seen = look(folder, name)
        if absent:
            raise Refusal("changed", f"{show_name(name)} is there already.")
        if not stat.S_ISREG(seen.st_mode):
            raise _no_file(seen, name)
        mode, is_new = stat.S_IMODE(seen.st_mode) & 0o777, False
    os.fchmod(file, mode)
    os.fsync(file)
    if is_new and not move(folder, part, folder, name, replace=False):
        if absent:
            raise Refusal("changed", f"{show_name(name)} is there already.")
        raise Refusal("busy", f"{show_name(name)} came to be at the same moment. Try again.")
    if not is_new:
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)
    return is_new


def move(source: int, old: bytes, target: int, new: bytes, *, replace: bool) -> bool:
    """Rename; False if something has the new name and it is not to be replaced."""
    if replace:
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
        return True
    if LIBC.renameat2(source, old, target, new, RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number not in {errno.EINVAL, errno.ENOSYS} or _is_inside(source, old, target):
        raise OSError(number, os.strerror(number))
    # A file system that cannot say "only if nothing is there" (some over the network). A file is linked, which can.
    if stat.S_ISREG(look(source, old).st_mode):
        try:
            os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except FileExistsError:
            return False
        os.unlink(old, dir_fd=source)
        return True
    with suppress(FileNotFoundError):
        look(target, new)
        return False
    os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
    return True


def _is_inside(source: int, old: bytes, target: int) -> bool:
    """Whether the folder ``target`` lies in the folder that is to be moved there: EINVAL, too."""
    moved = look(source, old)
    current = os.dup(target)
    try:
        for _ in range(WALK_DEPTH):
            here = os.fstat(current)
            if (here.st_dev, here.st_ino) == (moved.st_dev, moved.st_ino):
                return True
            above = os.open("..", PATH_FLAGS, dir_fd=current)
            os.close(current)
            current = above
    except OSError:
        pass
    finally:
        os.close(current)
    return False


def remove_tree(parent: int, name: bytes) -> int:
    """Remove a folder and all in it, however deep it was dug, without following a link; how many things."""
    count = 0
    stack = [(_open_for_removal(parent, name), name)]
    try:
        while stack:
            folder, own = stack[-1]
            inner = None
            with opened(os.open(".", FOLDER_FLAGS, dir_fd=folder)) as scan, os.scandir(scan) as entries:
                for entry in entries:
                    raw = os.fsencode(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        inner = raw
                        break
                    with suppress(FileNotFoundError):
                        os.unlink(raw, dir_fd=folder)
                        count += 1
            if inner is None:
                above = stack[-2][0] if len(stack) > 1 else parent
                with suppress(FileNotFoundError):
                    os.rmdir(own, dir_fd=above)
                    count += 1
                os.close(stack.pop()[0])
            elif len(stack) >= REMOVE_DEPTH:  # lifted to the top, so that no depth needs more descriptors
                os.rename(inner, os.urandom(16).hex(), src_dir_fd=folder, dst_dir_fd=stack[0][0])
            else:
                with suppress(FileNotFoundError, NotADirectoryError):
                    stack.append((_open_for_removal(folder, inner), inner))
    finally:
        for folder, _ in stack:
            os.close(folder)
    return count


def _open_for_removal(parent: int, name: bytes) -> int:
    try:
        folder = os.open(name, FOLDER_FLAGS, dir_fd=parent)
    except PermissionError:
        if not stat.S_ISDIR(look(parent, name).st_mode):
            raise
        os.chmod(name, 0o700, dir_fd=parent)  # at worst another file of the same user, which the game could do itself
        folder = os.open(name, FOLDER_FLAGS, dir_fd=parent)
    seen = os.fstat(folder)
    if seen.st_mode & 0o700 != 0o700 and seen.st_uid == os.geteuid():
        os.fchmod(folder, 0o700)
    return folder


# --- the verbs for files


def named(parts: list[bytes]) -> tuple[list[bytes], bytes]:
    """The folder of a path and the name in it. Raises Refusal for the world itself."""
    if not parts:
        raise Refusal("bad-path", "The world itself cannot be meant here; name something in it.")
    return parts[:-1], parts[-1]


def path_in(request: dict[str, Any], key: str = "path") -> list[bytes]:
    value = request.get(key, "")
    if not isinstance(value, str):
        raise Refusal("bad-request", f"{key} is not text.")
    return split_path(read_name(value))


def number_in(request: dict[str, Any], key: str, default: int, most: int) -> int:
    value = request.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise Refusal("bad-request", f"{key} is not a number from 0 to {most}.")
    return value


def do_list(root: int, request: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """A page of a folder in the order of names, however many there are."""
    parts = path_in(request)
    try:
        after = bytes.fromhex(request.get("after") or "")
    except (ValueError, TypeError):
        raise Refusal("bad-request", "after is not where an earlier page ended.") from None
    limit = number_in(request, "limit", 200, PAGE)
    with folder_at(root, parts) as folder:
        with opened(os.open(".", FOLDER_FLAGS, dir_fd=folder)) as own, os.scandir(own) as entries:
            raw = (os.fsencode(entry.name) for entry in entries)
            names = heapq.nsmallest(limit + 1, (name for name in raw if name > after))
        for name in names[:limit]:
            with suppress(FileNotFoundError):
                wire.say("item", describe(folder, name, look(folder, name)))
    return {"after": names[limit - 1].hex() if limit and len(names) > limit else None}


def do_stat(root: int, request: dict[str, Any], _wire: Wire) -> dict[str, Any]:
    """One entry."""
    parts = path_in(request)
    if not parts:
        return describe(root, b"", os.fstat(root))
    above, name = named(parts)
    with folder_at(root, above) as folder:
        return describe(folder, name, look(folder, name))


def do_read(root: int, request: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """A text file, whole, and the tag of exactly that content."""
    above, name = named(path_in(request))
    with folder_at(root, above) as folder:
        file, seen = open_file(folder, name)
        with opened(file):
            data = _read_text(file)
        entry = describe(folder, name, seen)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("not-text", f"{show_name(name)} is not text in UTF-8. Download it instead.") from None
    wire.say("item", {**entry, "size": len(data), "tag": tag_of(data)})
    for start in range(0, len(data), CHUNK):
        wire.send(data[start : start + CHUNK])
    return {}


def _read_text(file: int) -> bytes:
    pieces, left = [], TEXT_BYTES + 1
    while left and (data := os.read(file, min(left, CHUNK))):
        pieces.append(data)
        left -= len(data)
    if not left:
        raise Refusal("too-large", f"A text may have {TEXT_BYTES // 2**20} MiB here. Download it instead.")
    return b"".join(pieces)


def tag_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def do_write(root: int, request: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """A text file replaced as a whole, only if it is still the one that ``tags`` name (None: whatever it is).
    ``tells_before``: items ``{"before": …}`` are the pieces of the text that it replaced, if that was a small one."""
    above, name = named(path_in(request))
    tags, absent = request.get("tags"), bool(request.get("absent"))
    data = b"".join(_bounded(wire.body(), TEXT_BYTES))
    with folder_at(root, above) as folder:
        check_free(folder, len(data))
        with _alone(root), new_file(folder) as (file, part):
            if tags is not None:
                _check_tag(folder, name, tags)
            if request.get("tells_before"):
                _tell_before(folder, name, wire)
            fill(folder, file, iter([data]), TEXT_BYTES)
            is_new = place(folder, file, part, name, absent=absent)
        return {**describe(folder, name, look(folder, name)), "tag": tag_of(data), "is_new": is_new}


def _tell_before(folder: int, name: bytes, wire: Wire) -> None:
    with suppress(OSError, Refusal, UnicodeDecodeError):
        file, seen = open_file(folder, name)
        with opened(file):
            if seen.st_size > TOLD_BYTES:
                return
            text = _read_text(file).decode("utf-8")
        for start in range(0, max(1, len(text)), TOLD_CHARACTERS):
            wire.say("item", {"before": text[start : start + TOLD_CHARACTERS]})


def _bounded(body: Iterator[bytes], most: int) -> Iterator[bytes]:
    count = 0
    for data in body:
        count += len(data)
        if count > most:
            raise Refusal("too-large", f"A text may have {most // 2**20} MiB here.")
        yield data


def _check_tag(folder: int, name: bytes, tags: list[str]) -> None:
    try:
        file, _ = open_file(folder, name)
    except FileNotFoundError:
        raise Refusal("changed", f"{show_name(name)} is not there any more.") from None
    with opened(file):
        if "*" not in tags and tag_of(_read_text(file)) not in tags:
            raise Refusal("changed", f"{show_name(name)} was changed since you read it. Read it again.")


@contextmanager
def _alone(root: int) -> Iterator[None]:
    """Two edits with the same tag must not both find it unchanged. (The game itself writes when it likes.)"""
    give_up_at = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise Refusal("busy", "Somebody else holds the world's folder locked. Try again.") from None
            time.sleep(0.02)
    try:
        yield
    finally:
        fcntl.flock(root, fcntl.LOCK_UN)


def do_upload(root: int, request: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """A file of any size, there as a whole or not at all."""
    above, name = named(path_in(request))
    most = number_in(request, "most_bytes", 0, 2**63)
    with folder_at(root, above) as folder:
        check_free(folder, number_in(request, "bytes", 0, 2**63))
        with new_file(folder) as (file, part):
            fill(folder, file, wire.body(), most)
            is_new = place(folder, file, part, name, absent=bool(request.get("absent")))
        return {**describe(folder, name, look(folder, name)), "is_new": is_new}


def do_download(root: int, request: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """A file, or a range of it; or a folder as zip or tar."""
    parts = path_in(request)
    archive = request.get("archive")
    if archive is not None:
        with folder_at(root, parts) as folder:
            wire.say("item", {**describe(folder, parts[-1] if parts else b"", os.fstat(folder)), "length": None})
            return write_archive(folder, archive, wire)
    above, name = named(parts)
    with folder_at(root, above) as folder:
        file, seen = open_file(folder, name)
        with opened(file):
            start = number_in(request, "offset", 0, 2**63)
            length = min(number_in(request, "length", 2**63, 2**63), max(0, seen.st_size - start))
            wire.say("item", {**describe(folder, name, seen), "length": length})
            os.lseek(file, start, os.SEEK_SET)
            while length:
                data = os.read(file, min(length, CHUNK))
                if not data:
                    raise Refusal("changed", f"{show_name(name)} became shorter while it was read.")
                wire.send(data)
                length -= len(data)
    return {}


def do_delete(root: int, request: dict[str, Any], _wire: Wire) -> dict[str, Any]:
    """A file, a link or a folder gone; a folder with something in it only if ``recursive``."""
    above, name = named(path_in(request))
    with folder_at(root, above) as folder:
        seen = look(folder, name)
        count = 1
        if not stat.S_ISDIR(seen.st_mode):
            os.unlink(name, dir_fd=folder)
        elif request.get("recursive"):
            count = remove_tree(folder, name)
        else:
            os.rmdir(name, dir_fd=folder)
        os.fsync(folder)
    return {"count": count}


def do_rename(root: int, request: dict[str, Any], _wire: Wire) -> dict[str, Any]:
    """A file, link or folder under another name or in another folder; never over a thing unless ``replace``."""
    old_above, old = named(path_in(request))
    new_above, new = named(path_in(request, "to"))
    with folder_at(root, old_above) as source, folder_at(root, new_above) as target:
        look(source, old)
        if not move(source, old, target, new, replace=bool(request.get("replace"))):
            raise Refusal("exists", f"{show_name(new)} is there already.")
        os.fsync(target)
        os.fsync(source)
        return describe(target, new, look(target, new))


def do_mkdir(root: int, request: dict[str, Any], _wire: Wire) -> dict[str, Any]:
    """A new folder."""
    above, name = named(path_in(request))
    with folder_at(root, above) as folder:
        try:
            os.mkdir(name, 0o755, dir_fd=folder)
        except FileExistsError:
            raise Refusal("exists", f"{show_name(name)} is there already.") from None
        os.fsync(folder)
        return describe(folder, name, look(folder, name))


# --- archives out


class _Pieces:
    """A file that only ever goes forward, for zipfile and tarfile."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        if len(self._waiting) >= CHUNK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        self._wire.send(bytes(self._waiting))
        self._waiting.clear()

    def close(self) -> None:
        self.flush()


def write_archive(folder: int, form: object, wire: Wire) -> dict[str, Any]:
    """The folder's files, folders and links as an archive; sockets, pipes and devices are left out and counted."""
    out = _Pieces(wire)
    counts = {"files": 0, "left_out": 0}
    if form == "zip":
        _write_zip(folder, out, counts)
    elif form == "tar":
        _write_tar(folder, out, counts)
    else:
        raise Refusal("bad-request", "An archive is zip or tar.")
    out.flush()
    return counts


def _write_zip(folder: int, out: _Pieces, counts: dict[str, int]) -> None:
    import zipfile

    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # type: ignore[arg-type, type-var, unused-ignore]
        for parent, name, path, seen in walk(folder):
            moment = time.gmtime(min(max(seen.st_mtime, 315532800), 4354819198))[:6]
            kind = kind_of(seen.st_mode)
            info = zipfile.ZipInfo(show_name(path) + ("/" if kind == "folder" else ""), moment)
            info.external_attr = (seen.st_mode & 0xF1FF) << 16
            info.create_system = 3
            try:
                if kind == "file":
                    info.compress_type = zipfile.ZIP_DEFLATED
                    file, _ = open_file(parent, name)
                    with opened(file), archive.open(info, "w", force_zip64=True) as entry:
                        left = seen.st_size  # and no more: a log that grows all the time would have no end
                        while left and (data := os.read(file, min(left, CHUNK))):
                            entry.write(data)
                            left -= len(data)
                elif kind == "link":
                    archive.writestr(info, os.readlink(name, dir_fd=parent))
                elif kind == "folder":
                    archive.writestr(info, b"")
            except (FileNotFoundError, Refusal):
                kind = "other"  # gone, or something else by now
            counts["left_out" if kind == "other" else "files"] += 1


def _write_tar(folder: int, out: _Pieces, counts: dict[str, int]) -> None:
    import tarfile

    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload, unused-ignore]
        for parent, name, path, seen in walk(folder):
            info = tarfile.TarInfo(os.fsdecode(path))
            info.mode, info.mtime = seen.st_mode & 0o777, seen.st_mtime_ns / 1e9
            kind = kind_of(seen.st_mode)
            try:
                if kind == "file":
                    file, seen_open = open_file(parent, name)
                    with opened(file):
                        info.size = seen_open.st_size
                        archive.addfile(info, _Padded(file))  # type: ignore[arg-type, unused-ignore]
                elif kind == "link":
                    info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(os.readlink(name, dir_fd=parent))
                    archive.addfile(info)
                elif kind == "folder":
                    info.type = tarfile.DIRTYPE
                    archive.addfile(info)
            except (FileNotFoundError, Refusal):
                kind = "other"
            counts["left_out" if kind == "other" else "files"] += 1


class _Padded:
    """A file that has as many bytes as were promised: one that became shorter ends in zeros."""

    def __init__(self, file: int) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        pieces, left = [], size
        while left and (data := os.read(self._file, left)):
            pieces.append(data)
            left -= len(data)
        return b"".join(pieces) + b"\0" * left


# --- archives in


class Bounds:
    """What an archive may become, counted by what is really read. Raises Refusal."""

    def __init__(self, request: dict[str, Any], archive_bytes: int) -> None:
        self._most_bytes = number_in(request, "most_bytes", 0, 2**63)
        self._most_entries = number_in(request, "most_entries", ENTRIES, ENTRIES)
        self._most_by_ratio = max(RATIO_FREE_BYTES, RATIO * archive_bytes)
        self.bytes = self.entries = 0

    def entry(self, declared: int = 0) -> None:
        """One more, which says that it has so many bytes."""
        self.entries += 1
        if self.entries > self._most_entries:
            raise Refusal("bad-archive", f"The archive has more than {self._most_entries} entries.")
        self._check(declared)

    def read(self, count: int) -> None:
        """So many more bytes were read."""
        self.bytes += count
        self._check(0)

    def _check(self, more: int) -> None:
        if self.bytes + more > self._most_bytes:
            raise Refusal("bad-archive", f"Unpacked, the archive has more than {self._most_bytes} bytes.")
        if self.bytes + more > self._most_by_ratio:
            raise Refusal("bad-archive", f"Unpacked, the archive is more than {RATIO} times as large: a bomb.")


class Unpacked:
    """Where an archive's entries become files: a new folder, in which no link exists until all files are written."""

    def __init__(self, folder: int, bounds: Bounds, markers: frozenset[bytes]) -> None:
        self._folder = folder
        self._bounds = bounds
        self._markers = markers
        self._seen: set[tuple[bytes, ...]] = set()
        self._links: list[tuple[list[bytes], bytes]] = []
        self._times: list[tuple[list[bytes], int, int]] = []
        self.marked: set[tuple[bytes, ...]] = set()

    def _new(self, raw: bytes) -> list[bytes]:
        if raw.startswith(b"/") or b".." in raw.split(b"/") or (len(raw) > 1 and raw[1:2] == b":"):
            raise _bad_entry(raw, "leads out of the archive")
        try:
            parts = split_path(b"/".join(part for part in raw.split(b"/") if part != b"."))
        except Refusal as refusal:
            raise _bad_entry(raw, refusal.says) from None
        if parts and tuple(parts) in self._seen:
            raise _bad_entry(raw, "is there twice")
        self._seen.add(tuple(parts))
        return parts

    def add_folder(self, raw: bytes, mode: int, mtime_ns: int) -> None:
        if raw.strip(b"/") in {b"", b"."}:
            return  # the archive's own root
        parts = self._new(raw)
        with _entry_errors(raw), folder_at(self._folder, parts, make=True):
            self._times.append((parts, mode & 0o777 | 0o700, mtime_ns))

    def add_file(self, raw: bytes, mode: int, mtime_ns: int, read: Callable[[int], bytes]) -> None:
        parts = self._new(raw)
        above, name = named(parts)
        with _entry_errors(raw), folder_at(self._folder, above, make=True) as folder:
            file = os.open(name, NEW_FLAGS, 0o600, dir_fd=folder)
            with opened(file):
                checked = 0
                while data := read(CHUNK):
                    self._bounds.read(len(data))
                    if self._bounds.bytes - checked >= CHECK_FREE_EVERY:
                        checked = self._bounds.bytes
                        check_free(folder)
                    view = memoryview(data)
                    while view:
                        view = view[os.write(file, view) :]
                os.fchmod(file, mode & 0o777 | 0o600)
                with suppress(OverflowError, OSError):
                    os.utime(file, ns=(mtime_ns, mtime_ns))
        if name in self._markers:
            self.marked.add(tuple(above))

    def add_link(self, raw: bytes, target: bytes) -> None:
        parts = self._new(raw)
        depth = len(parts) - 1
        for part in target.split(b"/"):
            depth += -1 if part == b".." else 0 if part in {b"", b"."} else 1
            if depth < 0:
                break
        if depth < 0 or target.startswith(b"/") or not target or b"\0" in target or len(target) > PATH_BYTES:
            raise _bad_entry(raw, "is a link that leads out of the archive")
        self._links.append((parts, target))

    def add_hard_link(self, raw: bytes, target: bytes) -> None:
        new_above, new = named(self._new(raw))
        try:
            old_above, old = named(split_path(target))
        except Refusal:
            raise _bad_entry(raw, "is a hard link that leads out of the archive") from None
        with (
            _entry_errors(raw),
            folder_at(self._folder, old_above) as source,
            folder_at(self._folder, new_above, make=True) as folder,
        ):
            if not stat.S_ISREG(look(source, old).st_mode):
                raise _bad_entry(raw, "is a hard link to what is not a file")
            os.link(old, new, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    def finish(self) -> None:
        """Make the links, then give the folders their modes and times, the innermost first."""
        for parts, target in self._links:
            above, name = named(parts)
            with _entry_errors(name), folder_at(self._folder, above, make=True) as folder:
                os.symlink(target, name, dir_fd=folder)
        for parts, mode, mtime_ns in sorted(self._times, key=lambda each: -len(each[0])):
            with folder_at(self._folder, parts) as folder:
                os.fchmod(folder, mode)
                with suppress(OverflowError, OSError):
                    os.utime(folder, ns=(mtime_ns, mtime_ns))


def _bad_entry(raw: bytes, why: str) -> Refusal:
    return Refusal("bad-archive", f"{show_name(raw[:200])}: {why}")


@contextmanager
def _entry_errors(raw: bytes) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise _bad_entry(raw, "is there twice") from None
    except (FileNotFoundError, NotADirectoryError):
        raise _bad_entry(raw, "does not fit to the other entries") from None
    except Refusal as refusal:
        if refusal.code in {"not-folder", "is-link"}:
            raise _bad_entry(raw, "does not fit to the other entries") from None
        raise


def do_unpack(root: int, request: dict[str, Any], _wire: Wire) -> dict[str, Any]:
    """The world, in which nothing was but ARCHIVE, is what that zip or tar holds, begun at the folder that has one of
    the game's markers, and the archive is gone; or there is but the archive, as before. Safe to repeat after any death:
    what an earlier one had begun is gone first. Without an archive (it is unpacked) a Refusal. Modes without setuid;
    no links out, no devices."""
    markers = frozenset(read_name(str(name)) for name in request.get("markers", ()))
    home = tuple(path_in(request, "home"))
    try:
        archive, seen = open_file(root, ARCHIVE)
    except FileNotFoundError:
        if UNPACKING in _names(root):  # the last thing that an earlier one did not come to
            remove_tree(root, UNPACKING)
        raise
    with opened(archive):
        fcntl.flock(archive, fcntl.LOCK_EX)  # an earlier agent may still be at work, though whoever asked it has died
        look(root, ARCHIVE)  # …and may have done all of it meanwhile
        others = set(_names(root)) - {ARCHIVE}
        if others and UNPACKING not in others:
            raise Refusal("exists", "The world is not empty.")
        _empty(root)
        os.mkdir(UNPACKING, 0o700, dir_fd=root)
        try:
            with opened(os.open(UNPACKING, FOLDER_FLAGS, dir_fd=root)) as folder:
                bounds = Bounds(request, seen.st_size)
                unpacked = Unpacked(folder, bounds, markers)
                _unpack(archive, unpacked, bounds)
                source, target = choose_root(unpacked.marked, home, markers) if markers else ((), ())
                unpacked.finish()
                _settle(root, folder, list(source), list(target))
        except BaseException:
            _empty(root)
            raise
        LIBC.syncfs(root)
        os.unlink(ARCHIVE, dir_fd=root)
        remove_tree(root, UNPACKING)
    return {"files": bounds.entries, "bytes": bounds.bytes, "root": show_name(b"/".join(source))}


def _settle(root: int, folder: int, source: list[bytes], target: list[bytes]) -> None:
    if not target:
        with folder_at(folder, source) as chosen:
            for name in _names(chosen):
                if not move(chosen, name, root, name, replace=False):
                    raise _bad_entry(name, "is a name that Overworld needs itself")
        return
    above, last = named(target)
    with folder_at(root, above, make=True) as place_for:
        if source:
            source_above, source_name = named(source)
            with folder_at(folder, source_above) as holder:
                move(holder, source_name, place_for, last, replace=False)
        else:
            os.mkdir(last, 0o755, dir_fd=place_for)
            with folder_at(place_for, [last]) as inner:
                for name in _names(folder):
                    move(folder, name, inner, name, replace=False)


def _empty(root: int) -> None:
    """Nothing is left but the archive. UNPACKING goes last: it says that all of this may go."""
    for name in sorted(_names(root), key=lambda name: name == UNPACKING):
        if name != ARCHIVE:
            with suppress(OSError):
                if stat.S_ISDIR(look(root, name).st_mode):
                    remove_tree(root, name)
                else:
                    os.unlink(name, dir_fd=root)


def choose_root(
    marked: set[tuple[bytes, ...]], home: tuple[bytes, ...], markers: frozenset[bytes]
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Which folder of an archive goes where in the world: (from, to), both paths; () is the top.

    ``marked`` are the folders that hold one of the ``markers``; the game looks for it in ``home``. The shallowest
    counts. One that lies as the game wants it (``…/<home>``) brings all that lies beside it. Raises Refusal if there is
    none, or several and none of them lies so.
    """
    if not marked:
        names = " or ".join(sorted(map(show_name, markers)))
        raise Refusal("bad-archive", f"The archive holds no world of this game: there is no {names} anywhere in it.")
    at_home = [folder for folder in marked if not home or folder[len(folder) - len(home) :] == home]
    for found in (at_home, list(marked)):
        depth = min(map(len, found), default=0)
        highest = [folder for folder in found if len(folder) == depth]
        if len(highest) == 1:
            if found is at_home:
                return highest[0][: depth - len(home)], ()
            return highest[0], home
    names = ", ".join(sorted(show_name(b"/".join(folder)) or "/" for folder in marked)[:5])
    raise Refusal("bad-archive", f"The archive holds several worlds ({names}). Send one of them.")


def _unpack(archive: int, unpacked: Unpacked, bounds: Bounds) -> None:
    import bz2
    import lzma
    import tarfile
    import zipfile
    import zlib

    head = os.pread(archive, 8, 0)
    try:
        if head.startswith((b"PK\3\4", b"PK\5\6")):
            _unpack_zip(archive, unpacked, bounds)
            return
        if head.startswith(b"\x1f\x8b"):
            source = _Stream(archive, lambda: zlib.decompressobj(31))
        elif head.startswith(b"BZh"):
            source = _Stream(archive, bz2.BZ2Decompressor)
        elif head.startswith(b"\xfd7zXZ\0"):
            source = _Stream(archive, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY))
        elif head.startswith(b"\x28\xb5\x2f\xfd"):
            raise Refusal("bad-archive", "It is packed with zstd, which is not read here. Take gzip, bzip2 or xz.")
        else:
            source = _Stream(archive, None)
        _unpack_tar(source, unpacked, bounds)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise Refusal("bad-archive", f"It is no zip or tar, or a damaged one: {error}") from None
    except (ValueError, OverflowError, RuntimeError, UnicodeError) as error:
        raise Refusal("bad-archive", f"The archive cannot be read: {error}") from None
    except OSError as error:
        if error.errno in {None, errno.EINVAL}:  # bz2's word for damage; a zip whose entries begin before it does
            raise Refusal("bad-archive", f"The archive is damaged: {error}") from None
        raise


def _unpack_zip(archive: int, unpacked: Unpacked, bounds: Bounds) -> None:
    import zipfile

    with os.fdopen(os.dup(archive), "rb") as file, zipfile.ZipFile(file) as source:
        entries = source.infolist()
        if sum(entry.file_size for entry in entries) > bounds._most_bytes:
            bounds.entry(bounds._most_bytes + 1)
        for entry in entries:
            bounds.entry(entry.file_size)
            _unpack_zip_entry(source, entry, unpacked)


def _unpack_zip_entry(source: zipfile.ZipFile, entry: zipfile.ZipInfo, unpacked: Unpacked) -> None:
    text = entry.orig_filename
    if "\0" in text:
        raise _bad_entry(text.encode("utf-8", "replace"), "holds the character NUL")
    if entry.create_system == 0 and "/" not in text:
        text = text.replace("\\", "/")  # as some programs of Windows write it
    raw = read_name(text)
    mode = entry.external_attr >> 16 if entry.create_system == 3 else 0
    mtime_ns = _zip_time(entry)
    if entry.flag_bits & 1:
        raise _bad_entry(raw, "is encrypted")
    kind = stat.S_IFMT(mode)
    if text.endswith("/"):
        unpacked.add_folder(raw, mode or 0o755, mtime_ns)
    elif kind == stat.S_IFLNK:
        with source.open(entry) as content:
            unpacked.add_link(raw, content.read(PATH_BYTES + 1))
    elif kind in {0, stat.S_IFREG}:
        with source.open(entry) as content:
            unpacked.add_file(raw, mode or 0o644, mtime_ns, content.read)
    else:
        raise _bad_entry(raw, "is neither file, folder nor link")


def _zip_time(entry: zipfile.ZipInfo) -> int:
    import calendar

    try:
        return calendar.timegm((*entry.date_time, 0, 0, 0)) * 10**9
    except ValueError:
        return 0


class _Stream:
    """The bytes inside a compressed file, as a file that only goes forward. Raises Refusal if an archive has more than
    HEADER_BYTES between two entries."""

    def __init__(self, file: int, make: Callable[[], Any] | None) -> None:
        self._file = file
        self._make = make
        self._machine: Any = None
        self._raw = b""
        self._since_entry = 0

    def entry_begins(self) -> None:
        self._since_entry = 0

    def read(self, size: int = -1) -> bytes:
        size = CHUNK if size < 0 else size
        self._since_entry += size
        if self._since_entry > HEADER_BYTES:
            raise Refusal("bad-archive", "The archive has too much between two of its entries.")
        pieces, left = [], size
        while left and (data := self._some(left)):
            pieces.append(data)
            left -= len(data)
        return b"".join(pieces)

    def _some(self, size: int) -> bytes:
        if self._make is None:
            return os.read(self._file, size)
        while True:
            if not self._raw and (self._machine is None or getattr(self._machine, "needs_input", True)):
                self._raw = os.read(self._file, CHUNK)
                if not self._raw:
                    if self._machine is None:
                        return b""
                    raise EOFError("it ends before its end")
            if self._machine is None:
                self._raw = self._raw.lstrip(b"\0")  # what some programs fill up with
                if not self._raw:
                    continue
                self._machine = self._make()
            data: bytes = self._machine.decompress(self._raw, size)
            # zlib gives back what it has not used; bz2 and xz keep it, and say so by needs_input.
            self._raw = (
                self._machine.unused_data if self._machine.eof else getattr(self._machine, "unconsumed_tail", b"")
            )
            if self._machine.eof:
                self._machine = None
            if data:
                return data


def _unpack_tar(source: _Stream, unpacked: Unpacked, bounds: Bounds) -> None:
    import tarfile

    with tarfile.open(fileobj=source, mode="r|", bufsize=tarfile.BLOCKSIZE * 20) as archive:  # type: ignore[call-overload, unused-ignore]
        for entry in archive:
            source.entry_begins()
            bounds.entry(entry.size)
            _unpack_tar_entry(archive, entry, unpacked, source)
            archive.members = []  # or it would remember every entry
    if not bounds.entries:
        raise Refusal("bad-archive", "It is no zip or tar, or an empty one.")


def _unpack_tar_entry(archive: tarfile.TarFile, entry: tarfile.TarInfo, unpacked: Unpacked, source: _Stream) -> None:
    raw = os.fsencode(entry.name)
    mtime_ns = int(entry.mtime * 1e9)
    if entry.isdir():
        unpacked.add_folder(raw, entry.mode, mtime_ns)
    elif entry.isfile():
        content = archive.extractfile(entry)
        assert content is not None

        def read(size: int) -> bytes:
            source.entry_begins()
            data: bytes = content.read(size)
            return data

        unpacked.add_file(raw, entry.mode, mtime_ns, read)
    elif entry.issym():
        unpacked.add_link(raw, os.fsencode(entry.linkname))
    elif entry.islnk():
        unpacked.add_hard_link(raw, os.fsencode(entry.linkname))
    else:
        raise _bad_entry(raw, "is neither file, folder nor link")


# --- databases and manifests


def do_sqlite(root: int, request: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """Every SQLite file (that ``patterns`` name; none: all) copied, whole and by itself consistent, into the new folder
    ``staging``, under its own path, and looked over. Writers wait for the moment of each copy, readers do not."""
    import fnmatch

    staging = path_in(request, "staging")
    above, name = named(staging)
    patterns = [str(pattern) for pattern in request.get("patterns", ())]
    count = 0
    with folder_at(root, above) as holder:
        with suppress(FileNotFoundError, NotADirectoryError):
            remove_tree(holder, name)
        os.mkdir(name, 0o700, dir_fd=holder)
    with folder_at(root, staging) as target:
        for parent, each, path, seen in walk(root):
            shown = show_name(path)
            if not stat.S_ISREG(seen.st_mode) or seen.st_size < 512 or path.split(b"/")[: len(staging)] == staging:
                continue
            if patterns and not any(fnmatch.fnmatchcase(shown, pattern) for pattern in patterns):
                continue
            if _is_sqlite(parent, each):
                wire.say("item", {"path": shown, **_copy_database(parent, each, target, split_path(path))})
                count += 1
        LIBC.syncfs(target)
    return {"count": count}


def _is_sqlite(folder: int, name: bytes) -> bool:
    try:
        file, _ = open_file(folder, name)
    except (OSError, Refusal):
        return False
    with opened(file):
        return os.pread(file, len(SQLITE_MAGIC), 0) == SQLITE_MAGIC


def _copy_database(folder: int, name: bytes, staging: int, path: list[bytes]) -> dict[str, Any]:
    """SQLite opens by path, so it is told two names in the working folder. Between our look and its own the game may
    put a link there: then it reads, as the game's own user, what the game could have read itself."""
    import sqlite3

    began = time.monotonic()
    part = b".overworld-%s.part" % os.urandom(8).hex().encode()
    here = os.open(".", PATH_FLAGS)
    try:
        os.fchdir(folder)
        _back_up(name, part)
        says = _quick_check(part)
        size = look(folder, part).st_size
        with folder_at(staging, path[:-1], make=True) as target:
            move(folder, part, target, path[-1], replace=False)
    except sqlite3.Error as error:
        return {"ok": False, "says": f"{type(error).__name__}: {error}", "size": 0, "seconds": 0.0}
    finally:
        for left in (part, part + b"-journal", part + b"-wal", part + b"-shm"):
            with suppress(OSError):
                os.unlink(left, dir_fd=folder)
        os.fchdir(here)
        os.close(here)
    return {"ok": says == "ok", "says": says, "size": size, "seconds": round(time.monotonic() - began, 3)}


def _uri(name: bytes, mode: str) -> str:
    from urllib.parse import quote

    return f"file:./{quote(name)}?mode={mode}"


def _back_up(name: bytes, part: bytes) -> None:
    import sqlite3

    for mode in ("ro", "rw"):  # rw: after a crash its journal must be played back first, as the game would
        try:
            source = sqlite3.connect(_uri(name, mode), uri=True, timeout=10.0)
            try:
                target = sqlite3.connect(_uri(part, "rwc"), uri=True)
                try:
                    source.backup(target)
                finally:
                    target.close()
                return
            finally:
                source.close()
        except sqlite3.OperationalError:
            if mode == "rw":
                raise


def _quick_check(part: bytes) -> str:
    import sqlite3

    database = sqlite3.connect(_uri(part, "rw"), uri=True)
    try:
        return str(database.execute("PRAGMA quick_check(1)").fetchone()[0])[:CHECK_CHARACTERS]
    finally:
        database.close()


def do_tree(root: int, request: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """Everything below a folder with all that a restore must bring back; ``links`` is the first path of each group of
    hard links, ``sha256`` is left out unless asked for. Raises Refusal for more than TREE_BYTES: in folders that lie
    deep, a few files are enough for that."""
    groups: dict[tuple[int, int], str] = {}
    count = said = 0
    with folder_at(root, path_in(request)) as folder:
        for parent, name, path, seen in walk(folder):
            shown = show_name(path)
            item: dict[str, Any] = {
                **describe(parent, name, seen),
                "path": shown,
                "uid": seen.st_uid,
                "gid": seen.st_gid,
                "links": None,
            }
            del item["name"]
            if stat.S_ISLNK(seen.st_mode):
                with suppress(OSError):
                    item["target"] = show_name(os.readlink(name, dir_fd=parent))
            said += len(path) + len(item["target"] or "")
            if said > TREE_BYTES:
                raise Refusal("too-many", f"The names of its files have more than {TREE_BYTES // 2**20} MiB.")
            if stat.S_ISDIR(seen.st_mode):
                item["size"] = 0
            elif seen.st_nlink > 1:
                item["links"] = groups.setdefault((seen.st_dev, seen.st_ino), shown)
            if request.get("hash") and stat.S_ISREG(seen.st_mode):
                item["sha256"] = _hash(parent, name)
            wire.say("item", item)
            count += 1
    return {"count": count}


def _hash(folder: int, name: bytes) -> str | None:
    try:
        file, _ = open_file(folder, name)
    except (FileNotFoundError, Refusal):
        return None
    content = hashlib.sha256()
    with opened(file):
        while data := os.read(file, CHUNK):
            content.update(data)
    return content.hexdigest()


# --- the program

VERBS: dict[str, Callable[[int, dict[str, Any], Wire], dict[str, Any]]] = {
    "list": do_list,
    "stat": do_stat,
    "read": do_read,
    "write": do_write,
    "upload": do_upload,
    "download": do_download,
    "delete": do_delete,
    "rename": do_rename,
    "mkdir": do_mkdir,
    "unpack": do_unpack,
    "sqlite": do_sqlite,
    "tree": do_tree,
}

NEEDS = {
    "download": ("zipfile", "zlib", "tarfile"),
    "unpack": ("zipfile", "tarfile", "bz2", "lzma", "zlib", "calendar", "encodings.cp437"),
    "sqlite": ("sqlite3", "fnmatch", "urllib.parse"),
}
"""Imported before the rights are given up: the server's user may not be able to read Python's own files."""

_CODES = {
    errno.ENOENT: ("not-found", "There is no such file or folder."),
    errno.ENOTDIR: ("not-folder", "A part of the path is not a folder."),
    errno.EISDIR: ("is-folder", "It is a folder."),
    errno.ENOTEMPTY: ("not-empty", "The folder is not empty."),
    errno.EEXIST: ("exists", "Something of that name is there already."),
    errno.EACCES: ("closed", "The server's own user may not do that here."),
    errno.EPERM: ("closed", "The server's own user may not do that here."),
    errno.EROFS: ("closed", "The world's disk can only be read."),
    errno.ENOSPC: ("disk-full", "The disk is full."),
    errno.EDQUOT: ("disk-full", "The disk is full."),
    errno.ELOOP: ("is-link", "It is a link, and links are not followed."),
    errno.EINVAL: ("bad-path", "The system cannot do that with this name."),
    errno.ENAMETOOLONG: ("bad-path", "The name is too long."),
}


def explain(error: BaseException) -> Refusal:
    """The refusal that an error stands for."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MemoryError):
        return Refusal("too-many", "It would need too much memory.")
    if isinstance(error, OSError) and error.errno is not None:
        return Refusal(*_CODES.get(error.errno, ("broken", f"The disk or its system failed: {error.strerror}.")))
    return Refusal("fault", f"The agent failed: {type(error).__name__}: {error}")


def give_up_rights(uid: int | None, gid: int | None) -> None:
    """Become that user for good, or stay who one is; either way without a way to more rights."""
    os.umask(0o022)
    if uid is not None and gid is not None:
        if uid < 1 or gid < 1:
            raise SystemExit(BAD_CALL)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise SystemExit(BAD_CALL)
    for which, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_AS, MEMORY_BYTES),
    ):
        hard = resource.getrlimit(which)[1]
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (lower, lower))


def _on_alarm(_number: int, _frame: object) -> NoReturn:
    raise Refusal("too-slow", "It took too long and was given up.")


def _on_end(_number: int, _frame: object) -> NoReturn:
    raise Refusal("cut-off", "It was called off.")


def run(verb: str, wire: Wire, owner: int | None) -> int:
    """Answer one request, for a world that must belong to ``owner`` (None: to anybody); the exit status."""
    try:
        request = wire.request()
        seconds = request.get("seconds", SECONDS)
        if not isinstance(seconds, int | float) or not 0 < seconds <= 86400:
            raise Refusal("bad-request", "seconds is not a number from 0 to 86400.")
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.signal(signal.SIGTERM, _on_end)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        with opened(os.open(".", FOLDER_FLAGS)) as root:
            if owner is not None and os.fstat(root).st_uid != owner:
                raise Refusal("closed", "The world does not belong to the server's own user.")
            done = VERBS[verb](root, request, wire)
        signal.setitimer(signal.ITIMER_REAL, 0)
        wire.say("done", done)
    except BrokenPipeError:
        return REFUSED  # nobody listens any more
    except Exception as error:  # whatever it was, somebody waits for an answer
        signal.setitimer(signal.ITIMER_REAL, 0)
        refusal = explain(error)
        with suppress(BrokenPipeError):
            wire.say("error", {"code": refusal.code, "says": refusal.says[:2000]})
        return REFUSED
    return DONE


def main() -> NoReturn:
    verb, *user = sys.argv[1:] or [""]
    if verb not in VERBS or len(user) not in {0, 2} or not all(part.isdecimal() for part in user):
        sys.stderr.write(f"usage: agent.py {'|'.join(VERBS)} [UID GID]\n")
        raise SystemExit(BAD_CALL)
    for name in NEEDS.get(verb, ()):
        __import__(name)
    uid, gid = (int(user[0]), int(user[1])) if user else (None, None)
    give_up_rights(uid, gid)
    raise SystemExit(run(verb, Wire(0, 1), uid))


if __name__ == "__main__":
    main()
