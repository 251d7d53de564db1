"""The console port of a ``MemoryWorld``."""

from __future__ import annotations

from collections.abc import Iterator

from overworld.domain.errors import Conflict
from overworld.domain.observed import Phase
from overworld.domain.servers import ServerId
from overworld.engines.base import Line
from overworld.engines.memory.world import KEPT_LINES, MemoryWorld


class MemoryConsole:
    """The console of a ``MemoryWorld``: ``say`` writes its lines, commands are kept in ``commands`` and echoed."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world

    def lines(self, server_id: ServerId, *, after: str | None, limit: int) -> list[Line]:
        """The newest lines after an id, oldest first."""
        kept = list(self._world.consoles.get(server_id, ()))
        if after is not None and any(line.id == after for line in kept):
            kept = [line for line in kept if line.id > after]
        return kept[-limit:]

    def follow(self, server_id: ServerId, *, after: str | None) -> Iterator[Line | None]:
        """The lines there are, then None for as long as there are no new ones: never waits."""
        limit = 200 if after is None else KEPT_LINES
        while True:
            news = self.lines(server_id, after=after, limit=limit)
            if after is not None and news and news[0].id <= after:  # the id is gone: only what is newer
                news = [line for line in news if line.id > after]
            if not news:
                yield None
            for line in news:
                after = line.id
                limit = KEPT_LINES
                yield line

    def send(self, server_id: ServerId, command: str) -> None:
        """Hand a line to the game."""
        machine = self._world.machines.get(server_id)
        process = machine.process if machine is not None else None
        if machine is None or process is None or process.phase not in {Phase.STARTING, Phase.READY, Phase.STOPPING}:
            raise Conflict("The server does not run: start it, then send commands.")
        if not machine.accepts_commands:
            raise Conflict("This game takes no commands on its console.")
        self._world.commands.setdefault(server_id, []).append(command)
        self._world.say(server_id, f"> {command}")
