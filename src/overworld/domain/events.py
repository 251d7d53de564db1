"""Events: what happened to a server, for its owner; kept for a while, never acted upon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from overworld.domain.servers import ServerId


class Level(StrEnum):
    """How much an event matters to its owner."""

    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be stored. ``reason`` is a CamelCase word, ``message`` a sentence."""

    server_id: ServerId
    reason: str
    message: str
    level: Level = Level.INFO


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event; ``id`` grows with time, so it serves as a cursor."""

    id: int
    server_id: ServerId
    at: datetime
    level: Level
    reason: str
    message: str
