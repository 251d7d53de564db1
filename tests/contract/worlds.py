"""What the contract of world access plays on: one stage for each engine, each with a server and its world."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from abc import ABC, abstractmethod
from pathlib import Path

import psutil

from overworld.domain.servers import ServerId
from overworld.engines.base import WorldAccess
from overworld.engines.local.agent import LocalWorlds
from overworld.engines.local.folders import Folders
from overworld.engines.local.users import Users


class WorldStage(ABC):
    """A server whose world has generation 1."""

    worlds: WorldAccess
    server_id: ServerId
    drops_rights = True

    @abstractmethod
    async def play(self, code: str, *, generation: int = 1) -> str:
        """Run Python in the world, with the rights of the game; what it printed. Raises if it failed."""

    @abstractmethod
    async def has_agents(self) -> bool:
        """Whether an agent is at work in this world."""


class LocalWorldStage(WorldStage):
    """Folders below a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o711)
        self.folder = folder / "servers"
        self.server_id = "w" + secrets.token_hex(5)
        self.worlds = LocalWorlds(self.folder)
        self.drops_rights = os.geteuid() == 0
        self._user = Users(self.folder).of(secrets.randbelow(10**8))
        Folders(self.folder).prepare(self.server_id, 1, self._user, {})

    async def play(self, code: str, *, generation: int = 1) -> str:
        rights = {} if self._user is None else {"user": self._user.uid, "group": self._user.gid, "extra_groups": []}
        # A game's Python is the system's: the tests' own may lie where only root can read.
        process = await asyncio.create_subprocess_exec(
            *("/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable, "-I", "-c", code),
            cwd=Folders(self.folder).world(self.server_id, generation),
            stdout=asyncio.subprocess.PIPE,
            **rights,  # type: ignore[arg-type]
        )
        said, _ = await process.communicate()
        assert process.returncode == 0
        return said.decode()

    async def has_agents(self) -> bool:
        world = str(Folders(self.folder).worlds(self.server_id))
        for process in psutil.process_iter():
            try:
                if process.cwd().startswith(world) and process.status() != psutil.STATUS_ZOMBIE:
                    return True
            except (psutil.Error, OSError):  # OSError: a folder of somebody else's with too long a name
                continue
        return False
