"""What the contract suite plays on: one stage for each engine, with the same games on all of them."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil

from games.parts import PROGRAMS, ROSTER, SAVED_LINE, launch_of
from overworld.domain.games import Ready, Stop
from overworld.domain.observed import Launch, Want
from overworld.domain.servers import Endpoint, ServerId
from overworld.engines.base import Console, Engine
from overworld.engines.local.cgroups import find_cgroups
from overworld.engines.local.console import LocalConsole
from overworld.engines.local.engine import LocalEngine
from overworld.engines.memory import Behaviour, MemoryConsole, MemoryEngine, MemoryWorld

SHORT_GRACE = timedelta(seconds=1)


@dataclass
class Player:
    """An engine instance and every id that it was woken for."""

    engine: Engine
    woken: list[ServerId] = field(default_factory=list)


class Stage(ABC):
    """Where servers really exist; engines come and go on it."""

    runs_processes = True

    def __init__(self) -> None:
        self.players: list[Player] = []
        self._number = secrets.randbelow(10**8)
        self._prefix = "s" + secrets.token_hex(4)

    async def engine(self) -> Engine:
        """A new engine instance, started, as after a restart of its controller."""
        player = Player(self.make_engine())
        self.players.append(player)
        await player.engine.start(player.woken.append)
        return player.engine

    def woken(self, engine: Engine) -> list[ServerId]:
        """The ids that this engine has called ``wake`` with."""
        return next(player.woken for player in self.players if player.engine is engine)

    async def leave(self) -> None:
        """Close all engines and end everything that runs."""
        for player in self.players:
            await player.engine.close()
        self.end_all()

    def want(self, *, running: bool = True, restarts: int = 0, endpoints: tuple[Endpoint, ...] = ()) -> Want:
        """A wish for a new server."""
        self._number += 1
        return Want(
            server_id=f"{self._prefix}{self._number}",
            number=self._number,
            running=running,
            restarts=restarts,
            spec_hash="spec-1",
            world_generation=1,
            memory_mib=64,
            endpoints=endpoints,
        )

    @abstractmethod
    def make_engine(self) -> Engine:
        """An engine that looks at this stage."""

    @abstractmethod
    def launch(self, engine: Engine, want: Want, part: str, *, seconds: float | None = None) -> Launch:
        """The launch of that part (tests/games/actor.py) for that server."""

    @abstractmethod
    def console(self) -> Console:
        """The console of this stage's engine."""

    @abstractmethod
    def crash(self, server_id: ServerId) -> None:
        """End the running game with status 1, unasked."""

    @abstractmethod
    def write(self, server_id: ServerId, count: int) -> None:
        """Let the running game write that many lines: ``line 0``, ``line 1``, …"""

    async def until_process(self, engine: Engine, server_id: ServerId) -> None:
        """Wait until the game's own process runs, where *starting* comes before that."""
        return

    @abstractmethod
    async def lose_world(self, server_id: ServerId) -> None:
        """Take the stopped server's world away, as an unmounted disk does."""

    @abstractmethod
    async def bring_world_back(self, server_id: ServerId) -> None:
        """Undo ``lose_world``."""

    @abstractmethod
    def end_all(self) -> None:
        """End everything that runs on it."""


class MemoryStage(Stage):
    """Nothing but a data structure."""

    runs_processes = False

    def __init__(self) -> None:
        super().__init__()
        self.world = MemoryWorld()

    def make_engine(self) -> Engine:
        return MemoryEngine(self.world)

    def launch(self, engine: Engine, want: Want, part: str, *, seconds: float | None = None) -> Launch:
        self.world.behaviours[want.server_id] = {
            "good": Behaviour(lines=("ready to play",)),
            "needs-long": Behaviour(ready_after=timedelta(seconds=seconds or 0.3), lines=("loading",)),
            "never-ready": Behaviour(ready_after=None),
            "dies-at-once": Behaviour(
                ready_after=None, ends_after=timedelta(), exit_status=3, lines=("cannot open the map",)
            ),
            "ignores-stop": Behaviour(stop_takes=None, lines=("ready to play",)),
        }[part]
        return Launch(
            programs=PROGRAMS,
            arguments=(part,),
            environment={},
            files={},
            stop=Stop(grace=SHORT_GRACE if part == "ignores-stop" else timedelta(seconds=5), saved=SAVED_LINE),
            ready=Ready("ready"),
            roster=ROSTER,
            accepts_commands=True,
            log_file=None,
            install="",
        )

    def console(self) -> Console:
        return MemoryConsole(self.world)

    def crash(self, server_id: ServerId) -> None:
        self.world.end(server_id, status=1)

    def write(self, server_id: ServerId, count: int) -> None:
        for number in range(count):
            self.world.say(server_id, f"line {number}")

    async def lose_world(self, server_id: ServerId) -> None:
        self.world.machines[server_id].worlds -= {1}

    async def bring_world_back(self, server_id: ServerId) -> None:
        self.world.machines[server_id].worlds |= {1}

    def end_all(self) -> None:
        self.world.machines.clear()


class LocalStage(Stage):
    """Real processes below a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.chmod(0o711)
        self.folder = folder / "servers"

    def make_engine(self) -> Engine:
        return LocalEngine(self.folder)

    def launch(self, engine: Engine, want: Want, part: str, *, seconds: float | None = None) -> Launch:
        return launch_of(
            part,
            engine.layout(want.server_id, want.world_generation),
            arguments=(str(seconds or 0.3),) if part == "needs-long" else None,
            grace=SHORT_GRACE if part == "ignores-stop" else timedelta(seconds=5),
        )

    def console(self) -> Console:
        return LocalConsole(self.folder)

    def crash(self, server_id: ServerId) -> None:
        self.console().send(server_id, "crash 1")

    def write(self, server_id: ServerId, count: int) -> None:
        self.console().send(server_id, f"write {count}")

    async def lose_world(self, server_id: ServerId) -> None:
        (self.folder / server_id / "world").rename(self.folder / server_id / "elsewhere")

    async def bring_world_back(self, server_id: ServerId) -> None:
        (self.folder / server_id / "elsewhere").rename(self.folder / server_id / "world")

    def end_all(self) -> None:
        # Keepers first, or they would start their games again.
        for _ in range(100):
            left = self.keepers() or self.games()
            if not left:
                self._remove_cgroups()
                return
            for process in left:
                process.kill()
            psutil.wait_procs(left, timeout=1)
        raise AssertionError(f"cannot end {left}")

    def _remove_cgroups(self) -> None:
        """Those of killed keepers; a living one removes its own."""
        cgroups = find_cgroups()
        for parent in (cgroups.memory, cgroups.pids, cgroups.cpu):
            for folder in parent.glob(f"overworld-*-{self._prefix}*") if parent is not None else ():
                with suppress(OSError):  # the kernel may still count a process that has just died
                    folder.rmdir()

    def keepers(self) -> list[psutil.Process]:
        """Every keeper below the folder."""
        return [p for p in self._processes() if "keeper.py" in " ".join(p.cmdline())]

    def games(self) -> list[psutil.Process]:
        """Every process whose working folder is a world below the folder."""
        return [p for p in self._processes() if "/world/" in p.cwd()]

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd().startswith(str(self.folder)) and process.status() != psutil.STATUS_ZOMBIE:
                    process.cmdline()
                    found.append(process)
            except (psutil.Error, OSError):  # OSError: a folder of somebody else's with too long a name
                continue
        return found
