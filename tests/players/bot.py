"""A Minecraft player for tests: a real client (mineflayer) that joins, looks, digs and leaves."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FOLDER = Path(__file__).parent
INSTALLED = shutil.which("node") is not None and (FOLDER / "node_modules" / "mineflayer").is_dir()
"""Whether Node and the packages are there (``npm ci`` in this folder)."""

Place = tuple[int, int, int]


class BotFailed(AssertionError):
    """The player could not do it, and why."""


class Bot:
    """One player; a context manager whose end ends the client's process, whatever happened."""

    def __init__(self, name: str, *, host: str = "127.0.0.1", port: int, version: str = "1.16.1") -> None:
        self._hello = {"do": "join", "name": name, "host": host, "port": port, "version": version}
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", "bot.js"],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        process = self._process
        assert process is not None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def join(self) -> None:
        """Join the server; returns when the world around the player is there. Raises BotFailed if refused."""
        self._ask(self._hello)

    def look(self, at: Place | None = None) -> tuple[str, Place]:
        """Name and place of a block; without a place, the one under the player's feet."""
        return _block(self._ask({"do": "look", "at": at}))

    def dig(self, at: Place | None = None) -> tuple[str, Place]:
        """Dig that block; what is there afterwards."""
        return _block(self._ask({"do": "dig", "at": at}))

    def look_at_all(self, places: Sequence[Place]) -> list[str]:
        """Names of the blocks at those places, which are near."""
        return list(self._ask({"do": "look_at_all", "places": places})["blocks"])

    def work(self, places: Sequence[Place]) -> None:
        """Begin to dig these places out and to fill them with stone, in turn, until ``rest``. The game prints a word
        ``begin-NAME-N`` before the change N (from 0) and ``done-NAME-N`` after it; see digger.js."""
        self._ask({**self._hello, "do": "work", "places": places})

    def rest(self) -> list[tuple[Place, str]]:
        """Stop that; every change that was made: where, and what is there since."""
        return [_change(each) for each in self._ask({"do": "rest"})["changes"]]

    def rest_and_tell(self) -> float:
        """The same; the milliseconds for which the longest change was waited for, until somebody else had seen it."""
        return float(self._ask({"do": "rest"})["longestMs"])

    def leave(self) -> None:
        """Leave as a person does, by the menu."""
        self._ask({"do": "leave"})

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("{"):
                    self._answers.put(line)
        except ValueError:  # closed while reading: the end of the test
            return

    def _ask(self, request: dict[str, Any], *, deadline_seconds: float = 60) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        try:
            answer: dict[str, Any] = json.loads(self._answers.get(timeout=deadline_seconds))
        except queue.Empty:
            raise BotFailed(f"no answer to {request} within {deadline_seconds} s") from None
        if not answer["ok"]:
            raise BotFailed(f"{request['do']}: {answer['error']}")
        return answer


def _block(answer: dict[str, Any]) -> tuple[str, Place]:
    place, block = _change(answer)
    return block, place


def _change(answer: dict[str, Any]) -> tuple[Place, str]:
    x, y, z = answer["at"]
    return (x, y, z), str(answer["block"])
