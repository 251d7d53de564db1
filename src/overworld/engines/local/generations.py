"""The folders of worlds on this machine, for workers: new generations beside the present one, given over when whole."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Collection
from pathlib import Path

from overworld.confinement import render_command
from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.domain.servers import ServerId
from overworld.engines.local.checks import engine_errors
from overworld.engines.local.folders import Folders, remove_tree
from overworld.engines.local.users import User, Users


class Generations:
    """Paths below ``folder`` (the data folder's ``servers``). Blocking; raises EngineUnavailable for a passing fault
    and EngineRefused for what somebody has to mend.

    A generation that is being made lies in a room that is ours alone until ``hand_over``: processes of its server,
    which could otherwise plant links in it, cannot enter, and nobody takes it for a world.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = Folders(folder.absolute())
        self._users = Users(folder.absolute())

    def path(self, server_id: ServerId, generation: int) -> Path:
        """Where that generation is, or would be."""
        return self._folders.world(server_id, generation)

    def user(self, number: int) -> User | None:
        """As whom the server's files are touched; None where everything is done as ourselves."""
        return self._users.of(number)

    def is_there(self, server_id: ServerId, generation: int) -> bool:
        """Whether that generation is on the disk, whole."""
        return self.path(server_id, generation).is_dir()

    def make_place(self, server_id: ServerId, number: int) -> None:
        """The server has its folder, as the engine would make it; for a machine that never had it. Safe to repeat."""
        with engine_errors(f"making the folder of server {server_id}"):
            self._folders.make_place(server_id, self._users.of(number))

    def make(self, server_id: ServerId, generation: int) -> Path:
        """An empty folder in which a new generation is to be made; what an earlier attempt left in it is gone. Refused
        where the server has no folder yet: only the engine makes that."""
        room = self._folders.making(server_id, generation)
        with engine_errors(f"making world {generation} of server {server_id}"):
            remove_tree(room)
            try:
                room.mkdir(0o700)
            except FileNotFoundError:
                raise EngineRefused(
                    "WorldMissing", f"{room.parent} is not there. If its disk is not mounted, mount it."
                ) from None
            world = room / "world"
            world.mkdir(0o700)
        return world

    def copy(self, server_id: ServerId, source: int, target: Path) -> None:
        """The generation ``source`` once more in the empty folder ``target``: links, times, modes and hard links too;
        shared with the source where the file system can. Nothing may run on the source meanwhile."""
        with engine_errors(f"copying world {source} of server {server_id}"):
            copy_entries(self.path(server_id, source), target)

    def hand_over(self, server_id: ServerId, generation: int, number: int) -> None:
        """What ``make`` began is that generation, everything in it given to the server's user, and nothing else is left
        of its making. All or nothing; safe to repeat."""
        room, path = self._folders.making(server_id, generation), self.path(server_id, generation)
        with engine_errors(f"handing over world {generation} of server {server_id}"):
            if not path.is_dir():
                user = self._users.of(number)
                world = room / "world"
                if user is not None:
                    # By a program, for Python's own walk ends at a depth that a game can dig to. Links themselves are
                    # given, never what they point to, and what would run as somebody else loses that right.
                    _run("chown", "--recursive", "--no-dereference", "--", f"{user.uid}:{user.gid}", str(world))
                world.chmod(0o700)
                sync(world)
                world.rename(path)
            remove_tree(room)

    def remove(self, server_id: ServerId, generation: int) -> None:
        """Remove that generation, whole or begun; fine if it is gone already. The caller has made sure that nothing
        needs it."""
        with engine_errors(f"removing world {generation} of server {server_id}"):
            remove_tree(self._folders.making(server_id, generation))
            remove_tree(self.path(server_id, generation))


def copy_entries(source: Path, target: Path, *, besides: Collection[str] = ()) -> None:
    """Everything in the folder ``source`` once more in ``target``, but for what is named at its top: with links, hard
    links, times and modes. Raises OSError for a full disk, EngineUnavailable with cp's words for all else.

    cp comes to files by their paths, and the files API can put a link in the place of a folder meanwhile, though no
    game runs: so it can reach nothing but the two.
    """
    entries = [str(source / name) for name in sorted(os.listdir(source)) if name not in besides]
    if entries:  # in one go, or hard links between two of them would be lost
        options = ("--archive", "--reflink=auto", "--one-file-system", f"--target-directory={target}")
        _run(*render_command(["/bin/cp", *options, "--", *entries], read=[source], write=[target]))


def sync(folder: Path) -> None:
    """Everything of that folder's file system is on the disk."""
    _run("sync", "--file-system", "--", str(folder))


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"PATH": os.defpath, "LC_ALL": "C"},
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").partition("\n")[0][:500]
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, said)
        raise EngineUnavailable(said or f"{command[0]} ended with {done.returncode}")
