"""A queue of keys to work on, and its promises."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after failures in a row: ``first``, doubled each time up to ``longest``, less up to half of it
    by chance, so that what failed together does not come back together."""

    first: timedelta = timedelta(seconds=0.5)
    longest: timedelta = timedelta(seconds=60)

    def delay(self, failures: int, random: Random) -> timedelta:
        """The wait after that many failures (≥ 1) in a row."""
        full = min(self.first.total_seconds() * 2.0 ** min(failures - 1, 40), self.longest.total_seconds())
        return timedelta(seconds=full * random.uniform(0.5, 1.0))


class WorkQueue:
    """Keys only, never what changed about them. Not thread-safe: use it on one event loop.

    1. A key that was taken is not given out again until it is ``done``, however often it is added.
    2. A key that waits is given out once, however often it is added; the order is that of the first add.
    3. A key that is added while in work is given out again after ``done``: no news is lost.
    4. ``add_after`` gives a key out when its time has come; of several times the earliest counts, and an ``add``
       or a take before it fulfils it.
    5. ``retry`` adds a key after a back-off that grows with each failure in a row until ``forget``; an ``add`` in the
       meantime goes ahead of it, because it is news.
    6. ``take`` waits until something is ready, then gives a batch; after ``close`` it gives nothing, at once.
    """

    def __init__(
        self,
        *,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - spreads load, keeps no secret
        self._ready: dict[str, float] = {}  # key: since when; a dict keeps the order of the first add
        self._in_work: set[str] = set()
        self._again: dict[str, float] = {}  # in work, and added meanwhile
        self._due: dict[str, float] = {}
        self._timers: list[tuple[float, str]] = []  # a heap; an entry that is not in _due is stale
        self._failures: dict[str, int] = {}
        self._news = asyncio.Event()
        self._is_closed = False

    def add(self, key: str) -> None:
        """Give this key out as soon as possible."""
        self._due.pop(key, None)
        if key in self._in_work:
            self._again.setdefault(key, self._clock())
        elif key not in self._ready:
            self._ready[key] = self._clock()
            self._news.set()

    def add_after(self, key: str, delay: timedelta) -> None:
        """Give this key out after a delay (at once if it is not positive), or earlier if something else wants so."""
        if delay <= timedelta():
            self.add(key)
            return
        if key in self._ready or key in self._again:
            return
        due = self._clock() + delay.total_seconds()
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._timers, (due, key))
            if (
                len(self._timers) > 2 * len(self._due) + 100
            ):  # mostly stale: far timers are replaced more often than rung
                self._timers = [(due, key) for key, due in self._due.items()]
                heapq.heapify(self._timers)
            self._news.set()

    def retry(self, key: str) -> timedelta:
        """Give this key out after its back-off, which is returned."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures, self._random)
        self.add_after(key, delay)
        return delay

    def failures(self, key: str) -> int:
        """How often in a row this key failed."""
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        """It went well: the next back-off begins from the start."""
        self._failures.pop(key, None)

    def done(self, key: str) -> None:
        """The key that was taken is not in work any more. Safe to call twice."""
        self._in_work.discard(key)
        since = self._again.pop(key, None)
        if since is not None:
            self._ready[key] = since
            self._news.set()

    def take_ready(self, most: int) -> list[str]:
        """At most ``most`` keys that are ready now, without waiting."""
        self._ring()
        if self._is_closed:
            return []
        keys = [key for key, _ in zip(self._ready, range(most), strict=False)]
        for key in keys:
            del self._ready[key]
            self._due.pop(key, None)
            self._in_work.add(key)
        return keys

    async def take(self, most: int) -> list[str]:
        """At most ``most`` (≥ 1) keys, as soon as there is one; none only after ``close``."""
        while not self._is_closed:
            if keys := self.take_ready(most):
                return keys
            self._news.clear()
            wait = self._timers[0][0] - self._clock() if self._timers else None
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                continue
        return []

    def close(self) -> None:
        """Wake every taker with nothing. Safe to call twice."""
        self._is_closed = True
        self._news.set()

    @property
    def depth(self) -> int:
        """How many keys wait to be taken, those in work that were added again included."""
        return len(self._ready) + len(self._again)

    @property
    def oldest_age(self) -> timedelta:
        """How long the key that waits longest has been waiting."""
        oldest = min((next(iter(waiting.values())) for waiting in (self._ready, self._again) if waiting), default=None)
        return timedelta() if oldest is None else timedelta(seconds=max(self._clock() - oldest, 0.0))

    def _ring(self) -> None:
        now = self._clock()
        while self._timers and (self._timers[0][0] <= now or self._due.get(self._timers[0][1]) != self._timers[0][0]):
            due, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                self.add(key)
