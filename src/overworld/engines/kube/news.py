"""Which changes are told at once, and which a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from overworld.domain.observed import Observed
from overworld.domain.servers import ServerId
from overworld.engines.base import Wake

WORDS_WAIT_SECONDS = 2.0


class News:
    """Tells at once of a change that anything is decided from, and at most every two seconds of one that only changes
    what is said: on its way to its first player a pod has five sentences, and most of them are true for a moment.

    Every change is followed by a wake, though not every change has one of its own.
    """

    def __init__(self, observe: Callable[[ServerId], Observed]) -> None:
        self._observe = observe
        self._wake: Wake | None = None
        self._told: dict[ServerId, object] = {}
        self._words: dict[ServerId, asyncio.TimerHandle] = {}

    def tell(self, wake: Wake | None) -> None:
        """From now on tell this one; None: nobody."""
        self._wake = wake
        if wake is None:
            for timer in self._words.values():
                timer.cancel()
            self._words.clear()

    def take(self, server_id: ServerId) -> None:
        """Something of that server changed."""
        if self._wake is None:
            return
        observed = self._observe(server_id)
        facts = _facts(observed)
        if facts != self._told.get(server_id):
            if observed.exists:
                self._told[server_id] = facts
            else:
                self._told.pop(server_id, None)
            self._pass_on(server_id)
        elif server_id not in self._words:
            loop = asyncio.get_running_loop()
            self._words[server_id] = loop.call_later(WORDS_WAIT_SECONDS, self._pass_on, server_id)

    def _pass_on(self, server_id: ServerId) -> None:
        timer = self._words.pop(server_id, None)
        if timer is not None:
            timer.cancel()
        if self._wake is not None:
            self._wake(server_id)


def _facts(observed: Observed) -> object:
    """All of it but words, times and sizes: what waits for what, since when, on which node and in which pod."""
    process = observed.process
    seen = process and (process.phase, process.restarts, process.spec_hash, process.crashes, process.last_exit)
    return (observed.exists, observed.worlds, observed.begun, observed.given_up, observed.way_in, seen)
