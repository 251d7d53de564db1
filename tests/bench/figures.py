"""What a benchmark hands to ``make bench``: figures, each beside the aim it is read against."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. ``aim`` is what docs/performance.md promises (words such as "≤ 100"), empty where it
    promises nothing."""

    what: str
    value: float
    unit: str
    aim: str = ""


def report(what: str, value: float, unit: str, aim: str = "") -> None:
    """Hand one figure to ``make bench``, which puts it into its table; alone, it is a readable line."""
    print(json.dumps(asdict(Figure(what, value, unit, aim)), ensure_ascii=False), flush=True)


def parse_figure(line: str) -> Figure | None:
    """The figure that ``report`` printed, or None for any other line."""
    if not line.startswith('{"what": '):
        return None
    return Figure(**json.loads(line))
