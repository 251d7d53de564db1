"""How a process ended, as it was seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a process. Exactly one of ``status``, ``signal`` and ``lost_with`` is set; ``save_seen`` is None where
    the game has no line that would prove it; ``lines`` are its last words (at most 20). ``lost_with`` is the node that
    it ran on and that was lost: nobody saw how it ended."""

    at: datetime
    status: int | None
    signal: str | None
    asked: bool  # whether it ended because it was asked to
    save_seen: bool | None
    out_of_memory: bool = False
    lines: tuple[str, ...] = ()
    lost_with: str | None = None
