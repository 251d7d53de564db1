"""A look: everything that was seen of one server at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from overworld.domain.activity import Answer
from overworld.domain.observed import Usage
from overworld.domain.servers import ServerId


class Process(StrEnum):
    """What the engine said about the server's process."""

    RUNS = "runs"
    GONE = "gone"  # seen not to exist, which is why nobody plays
    UNKNOWN = "unknown"  # the engine did not answer


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one server.

    ``clock`` is monotonic seconds: durations come from it alone, so that no change of the wall clock is ever charged.
    ``at`` is the same moment on the wall. ``usage`` is set exactly when ``process`` is RUNS; ``answer`` is the game's
    own, None if it was not asked (``has_query`` False, or nothing to ask) or did not answer.
    """

    server_id: ServerId
    at: datetime
    clock: float
    process: Process
    usage: Usage | None = None
    has_query: bool = False
    answer: Answer | None = None
