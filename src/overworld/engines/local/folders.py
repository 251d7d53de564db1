"""Where a server's files are on this machine, and who may read them.

<folder>/<server id>/world/<generation>/   the game's: 0700, owned by the server's user
<folder>/<server id>/config/               written by the engine, read by the game
<folder>/<server id>/run/                  the keeper's; no game can enter it
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.domain.observed import Layout
from overworld.domain.servers import ServerId
from overworld.engines.local.users import User

_SERVER_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class Folders:
    """The paths of every server below one folder. Blocking; raises OSError, and EngineRefused for names that would
    lead outside."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def server(self, server_id: ServerId) -> Path:
        if not _SERVER_ID.fullmatch(server_id):
            raise EngineRefused("BadServerId", f"{server_id!r} cannot be a server's folder: it must be a DNS label.")
        return self.root / server_id

    def run(self, server_id: ServerId) -> Path:
        return self.server(server_id) / "run"

    def config(self, server_id: ServerId) -> Path:
        return self.server(server_id) / "config"

    def worlds(self, server_id: ServerId) -> Path:
        return self.server(server_id) / "world"

    def world(self, server_id: ServerId, generation: int) -> Path:
        return self.worlds(server_id) / str(generation)

    def making(self, server_id: ServerId, generation: int) -> Path:
        """The room in which a worker makes a generation: nobody else may enter it, and it is no world yet."""
        return self.worlds(server_id) / f".making-{generation}"

    def layout(self, server_id: ServerId, generation: int) -> Layout:
        return Layout(world=str(self.world(server_id, generation)), config=str(self.config(server_id)))

    def server_ids(self) -> Iterator[ServerId]:
        """Every server that has a folder, whatever is in it."""
        with suppress(FileNotFoundError), os.scandir(self.root) as entries:
            for entry in entries:
                if _SERVER_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    yield entry.name

    def world_generations(self, server_id: ServerId) -> frozenset[int]:
        """The generations of the world that are on the disk."""
        with suppress(FileNotFoundError), os.scandir(self.worlds(server_id)) as entries:
            return frozenset(int(entry.name) for entry in entries if entry.name.isdecimal())
        return frozenset()

    def check_world(self, server_id: ServerId, generation: int) -> None:
        """Raises EngineRefused if that generation of the world, which was there once, is not there now."""
        world = self.world(server_id, generation)
        if not world.is_dir():
            raise EngineRefused(
                "WorldMissing",
                f"The world is not in {world} any more, and nothing is started on an empty one. If its disk is not "
                "mounted, mount it; if it was moved, move it back. The server then starts by itself.",
            )

    def prepare(self, server_id: ServerId, generation: int, user: User | None, files: Mapping[str, str]) -> None:
        """Make sure that the folders and configuration files are there and as they should be. Writes nothing if so."""
        self.make_place(server_id, user)
        inner = 0o750 if user is not None else 0o700
        _own_folder(self.world(server_id, generation), 0o700, user)
        _own_folder(self.config(server_id), inner, User(0, user.gid) if user is not None else None)
        _own_folder(self.run(server_id), 0o700)
        with _alone_in(self.run(server_id)):  # two engines at once would move each other's files away
            self._write_files(server_id, user, files)

    def make_place(self, server_id: ServerId, user: User | None) -> None:
        """Make sure that the server has a folder, in which its worlds can be made."""
        mode = 0o711 if user is not None else 0o700
        self.root.mkdir(parents=True, exist_ok=True)
        for folder in (self.root, self.server(server_id), self.worlds(server_id)):
            _own_folder(folder, mode)

    def make_world(self, server_id: ServerId, generation: int, user: User | None) -> None:
        """Make sure that this generation of the world is there, empty if it is new; the server itself is there."""
        if generation < 1:
            raise EngineRefused("BadGeneration", f"{generation} is no generation of a world.", retry_after=None)
        _own_folder(self.world(server_id, generation), 0o700, user)

    def _write_files(self, server_id: ServerId, user: User | None, files: Mapping[str, str]) -> None:
        folder = self.config(server_id)
        for name, content in files.items():
            if not _FILE_NAME.fullmatch(name):
                raise EngineRefused(
                    "BadFileName",
                    f"The game's catalogue entry asks for a configuration file called {name!r}; a plain file name of "
                    "letters, digits, dots, dashes and underscores is possible.",
                    retry_after=None,
                )
            path, data = folder / name, content.encode()
            with suppress(FileNotFoundError):
                if path.read_bytes() == data:
                    continue
            new = folder / f".{name}.new"
            with suppress(FileNotFoundError):
                new.unlink()
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
                if user is not None:
                    os.fchown(file.fileno(), 0, user.gid)
                os.fchmod(file.fileno(), 0o640)
                file.write(data)
            new.rename(path)
        for left in os.listdir(folder):
            if left not in files:
                (folder / left).unlink()

    def remove_world(self, server_id: ServerId, generation: int) -> None:
        """Remove one generation of the world. Follows no link; fine if it is gone already."""
        remove_tree(self.world(server_id, generation))
        self._remove_if_empty(server_id)

    def remove_rest(self, server_id: ServerId) -> None:
        """Remove everything but worlds; what a worker began to make is none."""
        with suppress(FileNotFoundError), os.scandir(self.worlds(server_id)) as entries:
            for entry in [entry for entry in entries if entry.name.startswith(".making-")]:
                remove_tree(Path(entry.path))
        remove_tree(self.config(server_id))
        remove_tree(self.run(server_id))
        self._remove_if_empty(server_id)

    def _remove_if_empty(self, server_id: ServerId) -> None:
        if self.run(server_id).exists():
            return
        with suppress(OSError):
            self.worlds(server_id).rmdir()
        with suppress(OSError):
            self.server(server_id).rmdir()


@contextmanager
def keeper_lock(run: Path, *, needed: bool) -> Iterator[None]:
    """Hold the place of the keeper, so that none starts meanwhile. Raises EngineUnavailable if one lives, where that
    matters (``needed``)."""
    try:
        file = os.open(run / "keeper.lock", os.O_RDONLY)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if needed:
            raise EngineUnavailable(f"a keeper still lives in {run}") from error
    try:
        yield
    finally:
        os.close(file)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder that no game can open: else a game could hold it for ever."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _own_folder(path: Path, mode: int, user: User | None = None) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode)
    seen = path.lstat()
    if not stat.S_ISDIR(seen.st_mode):
        raise EngineRefused("FolderClosed", f"{path} is not a folder any more. Put back what was there, or remove it.")
    if user is not None and (seen.st_uid, seen.st_gid) != (user.uid, user.gid):
        os.chown(path, user.uid, user.gid, follow_symlinks=False)
    if seen.st_mode & 0o7777 != mode:
        path.chmod(mode)


def remove_tree(path: Path) -> None:
    """By ``rm``, for Python's own way ends at a depth that a game can dig to. What is mounted inside stays, and is an
    error. Raises EngineUnavailable with the reason of the first file that cannot be removed."""
    command = ["rm", "-rf", "--one-file-system", "--", str(path)]
    removed = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"PATH": os.defpath, "LC_ALL": "C"},
        check=False,
    )
    if removed.returncode != 0:
        raise EngineUnavailable(removed.stderr.decode(errors="replace").partition("\n")[0][:500] or f"{path} stays")
