"""What came back, server by server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from overworld.cli.safe_text import strip_controls
from overworld.domain.saves import Quiet, Save
from overworld.domain.servers import Server


@dataclass(frozen=True, slots=True)
class Outcome:
    """One server. ``save`` None: there was none. ``lost`` is the most that can be missing of what was played.
    ``problem`` is a sentence, "" if its world is back. ``was_here``: its world had not been lost, and nothing was done
    to it."""

    server: Server
    save: Save | None = None
    lost: timedelta = timedelta()
    problem: str = ""
    never_saved: bool = False
    was_here: bool = False

    @property
    def is_good(self) -> bool:
        """Whether there is nothing for the operator to look at."""
        return not self.problem and not self.never_saved

    def cells(self) -> tuple[str, ...]:
        """Its line of the table, safe for a terminal."""
        save = self.save
        cells = (
            self.server.name,
            self.server.id,
            str(self.server.desired),
            "-" if save is None else f"{save.created_at:%Y-%m-%d %H:%M:%S}",
            "-" if save is None else _stillness(save),
            "nothing" if self.was_here else "-" if save is None else show_span(self.lost),
            self.problem or self._tell_world(),
        )
        return tuple(map(strip_controls, cells))

    def _tell_world(self) -> str:
        if self.was_here:
            return "had not been lost, left as it is"
        return "never saved: it begins with an empty world" if self.never_saved else "back"


HEADINGS = ("NAME", "SERVER", "WANTED", "SAVE OF (UTC)", "HELD STILL", "LOST AT MOST", "WORLD")


def render_table(outcomes: list[Outcome]) -> str:
    """All of them, for a terminal or a file."""
    rows = [HEADINGS, *(outcome.cells() for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(_render(row, widths) for row in rows)


def _render(row: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def show_span(span: timedelta) -> str:
    """A span for people: nothing, 45 s, 12 min, 3 h 05 min, 2 d 4 h."""
    seconds = round(span.total_seconds())
    if seconds <= 0:
        return "nothing"
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 120:
        return f"{seconds} s"
    if minutes < 120:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def event_message(outcome: Outcome) -> str:
    """What the server's owner is told."""
    if outcome.problem:
        return f"The installation was recovered, but not this world: {outcome.problem}"
    if outcome.was_here:
        return "The installation was recovered. This world had not been lost, and is as it was."
    if outcome.save is None:
        return "The installation was recovered. This server had never been saved, so it begins with an empty world."
    lost = f"at most {show_span(outcome.lost)} of play were lost" if outcome.lost else "nothing of it was lost"
    return f"The installation was recovered: the world is that of {outcome.save.created_at:%Y-%m-%d %H:%M} UTC, {lost}."


def _stillness(save: Save) -> str:
    return "NO" if save.quiet is Quiet.UNQUIETED else "yes"
