"""What a keeper says of its process, as the words of the engine port."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overworld.domain.exits import Exit
from overworld.domain.observed import Phase, ProcessSeen


@dataclass(frozen=True, slots=True)
class KeeperState:
    """One state of a keeper. ``process`` is for the port, the rest for the engine itself."""

    process: ProcessSeen
    world_generation: int
    pid: int


def read_keeper_state(run: Path) -> KeeperState | None:
    """The last state that a keeper wrote into its run folder; None if none ever did, or its file is damaged."""
    try:
        return parse_keeper_state(json.loads((run / "state.json").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def parse_keeper_state(state: Mapping[str, Any]) -> KeeperState:
    """The state in a keeper's message. Raises KeyError, TypeError or ValueError if it is none."""
    return KeeperState(
        process=ProcessSeen(
            phase=Phase(state["phase"]),
            since=_time(state["since"]),
            spec_hash=state["spec_hash"],
            restarts=state["restarts"],
            crashes=state["crashes"],
            last_exit=None if state["last_exit"] is None else _parse_exit(state["last_exit"]),
            next_start_at=None if state["next_start_at"] is None else _time(state["next_start_at"]),
        ),
        world_generation=state["world_generation"],
        pid=state["pid"],
    )


def _parse_exit(seen: Mapping[str, Any]) -> Exit:
    return Exit(
        at=_time(seen["at"]),
        status=seen["status"],
        signal=seen["signal"],
        asked=seen["asked"],
        save_seen=seen["save_seen"],
        out_of_memory=seen["out_of_memory"],
        lines=tuple(seen["lines"]),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
