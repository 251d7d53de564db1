"""A game as its file says, run by the bare minimum: what is tested is the file, not an engine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from overworld.domain.games import Game, Protocol, Value
from overworld.domain.observed import Launch, Layout
from overworld.domain.servers import Desired, Endpoint, Server
from overworld.games.launch import render_launch
from players import bot
from waiting import wait_until

NOBODY_KNOWN = 200_123
"""A user id without a passwd entry, as engines give them to games."""
NAME = 'Wild "name"; quit \\ {{world}} Ü'


def is_installed(game: Game) -> bool:
    """Whether the game's program, and what it requires, are on this machine."""
    launch = render(game, Path("/nonexistent"), 1, {})
    return any(shutil.which(program) for program in launch.programs) and all(map(os.path.exists, launch.requires))


def free_port(protocol: Protocol) -> int:
    """A port that nobody uses now."""
    kind = socket.SOCK_DGRAM if protocol is Protocol.UDP else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def endpoints_of(game: Game, port: int) -> tuple[Endpoint, ...]:
    """The game's only port, on loopback."""
    (only,) = game.ports
    return (Endpoint(only.name, only.protocol, "127.0.0.1", port),)


def render(game: Game, folder: Path, port: int, variables: Mapping[str, Value]) -> Launch:
    """The game rendered for a server whose name is as bad as a name can be."""
    now = datetime.now(UTC)
    server = Server(
        id="bcdfgh234567",
        number=1,
        account_id="a",
        name=NAME,
        game=game.slug,
        generation=1,
        desired=Desired.RUNNING,
        desired_generation=1,
        restarts=0,
        variables=variables,
        memory_mib=game.memory.default_mib,
        world_generation=1,
        retired_worlds=(),
        created_at=now,
        updated_at=now,
    )
    layout = Layout(world=str(folder / "world"), config=str(folder / "config"))
    return render_launch(game, server, layout, endpoints_of(game, port), programs_folder=bot.FOLDER)


@contextmanager
def world_folder() -> Iterator[Path]:
    """A folder that a game's own user gets through, unlike pytest's; its world belongs to that user alone."""
    folder = Path(tempfile.mkdtemp(prefix="overworld-game-"))
    try:
        folder.chmod(0o755)
        (folder / "config").mkdir()
        (folder / "world").mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder / "world", NOBODY_KNOWN, NOBODY_KNOWN)
        yield folder
    finally:
        shutil.rmtree(folder)


class RunningGame:
    """One start of a game. A context manager whose end leaves no process, however the test went."""

    def __init__(self, game: Game, folder: Path, port: int, variables: Mapping[str, Value]) -> None:
        self.launch = render(game, folder, port, variables)
        self._folder = folder
        self._output: IO[bytes] | None = None
        self._log = Path(self.launch.log_file) if self.launch.log_file else folder / "output"
        self._begins_at = 0
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        for name, content in self.launch.files.items():
            file = self._folder / "config" / name
            file.unlink(missing_ok=True)
            file.write_text(content, encoding="utf-8")
            if os.geteuid() == 0:
                os.chown(file, 0, NOBODY_KNOWN)
            file.chmod(0o440)  # as a pod has them: a copy of one cannot be written to by a second start
        self._begins_at = self._log.stat().st_size if self._log.exists() else 0
        self._output = (self._folder / "output").open("ab")
        program = next(found for program in self.launch.programs if (found := shutil.which(program)))
        own_user = {"user": NOBODY_KNOWN, "group": NOBODY_KNOWN, "extra_groups": []} if os.geteuid() == 0 else {}
        self.process = subprocess.Popen(
            [program, *self.launch.arguments],
            cwd=self._folder / "world",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **self.launch.environment},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **own_user,  # type: ignore[call-overload]
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            print("\n".join(self.lines()[-40:]))
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        assert self._output is not None
        self.process.stdin.close()
        self._output.close()

    def lines(self) -> list[str]:
        """Its output since this start."""
        if not self._log.exists():
            return []
        with self._log.open("rb") as log:
            log.seek(self._begins_at)
            return log.read().decode(errors="replace").splitlines()

    def wait_until_ready(self) -> None:
        """Returns when the line came that says so; fails if the game ends before."""

        def is_ready() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.lines()[-20:]}"
            return self.has_line(self.launch.ready.line)

        wait_until(is_ready, self.launch.ready.within.total_seconds(), f"a line like {self.launch.ready.line}")

    def has_line(self, pattern: str, *, after: int = 0) -> bool:
        """Whether such a line came since the start, the first ``after`` lines left out."""
        return any(re.search(pattern, line) for line in self.lines()[after:])

    def send(self, command: str) -> None:
        """Type a line into the game's console."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def roster(self) -> list[str]:
        """Who is there by the join and leave lines."""
        assert self.launch.roster is not None
        present: list[str] = []
        for line in self.lines():
            if match := re.search(self.launch.roster.joins, line):
                present.append(match["name"])
            elif (match := re.search(self.launch.roster.leaves, line)) and match["name"] in present:
                present.remove(match["name"])
        return present

    def stop(self) -> float:
        """Stop it as its file says. It must end by itself, with status 0, and prove its save if it has a line for
        that. Returns how many seconds it took."""
        before, began_at = len(self.lines()), time.monotonic()
        if self.launch.stop.command is not None:
            self.send(self.launch.stop.command)
        else:
            self.process.send_signal(signal.Signals[self.launch.stop.signal])
        assert self.process.wait(self.launch.stop.grace.total_seconds()) == 0
        took = time.monotonic() - began_at
        if self.launch.stop.saved is not None:
            assert self.has_line(self.launch.stop.saved, after=before), self.lines()[before:]
        return took
