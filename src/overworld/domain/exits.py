"""How a process ended, as it was seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a process. Exactly one of ``status`` and ``signal`` is set; ``save_seen`` is None where the game
    has no line that would prove it; ``lines`` are its last words (at most 20)."""

    at: datetime
    status: int | None
    signal: str | None
    asked: bool  # whether it ended because it was asked to
    save_seen: bool | None
    out_of_memory: bool = False
    lines: tuple[str, ...] = ()
