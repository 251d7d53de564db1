"""When each server is looked at next: evenly spread, so that a thousand games are never asked at once. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from overworld.domain.servers import ServerId

NEWCOMER_SPACING_SECONDS = 0.05


class Rota:
    """Hands out every server on it once an interval, each at its own moment.

    Promises: while on the rota, a server is never handed out twice within half an interval, nor again before ``done``;
    a newcomer's turn comes at once, many newcomers are spread (20 a second, faster only if that would not fit into one
    interval) and keep that spacing; turns that passed while nobody asked are skipped, not made up for. Times are
    seconds of any steady clock.
    """

    def __init__(self, interval_seconds: float) -> None:
        self._interval = interval_seconds
        self._turns: list[tuple[float, ServerId]] = []  # exactly one entry for each member
        self._members: set[ServerId] = set()
        self._busy: set[ServerId] = set()

    def __len__(self) -> int:
        return len(self._members)

    def set_members(self, server_ids: Collection[ServerId], now: float) -> None:
        """Make the rota exactly these servers. Those that stay keep their turns. Those that left are forgotten."""
        wanted = set(server_ids)
        if left := self._members - wanted:
            self._turns = [turn for turn in self._turns if turn[1] not in left]
            heapq.heapify(self._turns)
        newcomers = sorted(wanted - self._members)
        spacing = min(NEWCOMER_SPACING_SECONDS, self._interval / len(newcomers)) if newcomers else 0.0
        for place, server_id in enumerate(newcomers):
            heapq.heappush(self._turns, (now + place * spacing, server_id))
        self._members = wanted

    def take_due(self, now: float) -> list[ServerId]:
        """The servers whose turn has come, in order of their turns; each must be given back by ``done``."""
        due: list[ServerId] = []
        while self._turns and self._turns[0][0] <= now:
            turn, server_id = self._turns[0]
            skipped = round((now - turn) / self._interval)
            heapq.heapreplace(self._turns, (turn + (skipped + 1) * self._interval, server_id))
            if server_id not in self._busy:
                self._busy.add(server_id)
                due.append(server_id)
        return due

    def done(self, server_id: ServerId) -> None:
        """The look is over. Fine for a server that left the rota meanwhile."""
        self._busy.discard(server_id)

    def seconds_to_next(self, now: float) -> float | None:
        """Seconds (≥ 0) until the next turn, or None if nobody is on the rota."""
        return max(self._turns[0][0] - now, 0.0) if self._turns else None
