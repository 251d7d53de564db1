"""What a command prints: tables and sentences for people, JSON for programs.

Everything printed here was made safe for a terminal. Answers go to standard output, progress and notes to standard
error, so that a pipe sees only answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import click
from rich.cells import cell_len
from rich.console import Console
from rich.status import Status
from rich.text import Text

from overworld.cli.safe_text import strip_controls

STYLES = {
    "running": "green",
    "pending": "cyan",
    "starting": "cyan",
    "stopping": "yellow",
    "stopped": "dim",
    "deleted": "dim",
    "failed": "bold red",
    "kept": "green",
    "gone": "dim",
    "succeeded": "green",
    "aborted": "yellow",
    "cancelled": "yellow",
    "active": "green",
    "idle": "dim",
    "unknown": "yellow",
    "warning": "yellow",
    "True": "green",
    "False": "red",
    "Unknown": "yellow",
    "ok": "green",
    "warn": "yellow",
    "bad": "bold red",
}
"""Colours of the words that stand for a state, wherever a column is ``coloured``."""

LEAST_WRAPPED = 24
"""Characters a line that a wrapping column keeps before other columns go."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Where a terminal is too narrow, columns that ``wrap`` go on in the next lines, then columns
    of the highest ``drop`` go; 0 always stays."""

    title: str
    drop: int = 0
    coloured: bool = False
    right: bool = False
    wrap: bool = False


class Progress(Protocol):
    """What long work says about itself while it lasts."""

    def say(self, text: str) -> None:
        """Show ``text`` as the present state; saying the same twice shows it once."""
        ...


def print_json(document: object) -> None:
    """``document`` on standard output. ASCII only: no character in it can reach a terminal as itself."""
    click.echo(json.dumps(document, indent=2))


def print_line(text: str = "") -> None:
    """One sentence on standard output."""
    click.echo(strip_controls(text))


def print_note(text: str) -> None:
    """One sentence on standard error: about the work, not its result."""
    click.echo(strip_controls(text), err=True)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Rows under their titles. On a terminal fitted to its width; in a pipe whole, one aligned line a row."""
    if not rows:
        print_note(empty)
        return
    cells = [[_as_text(cell) for cell in row] for row in rows]
    widths = [
        max(cell_len(column.title), *(cell_len(row[index]) for row in cells)) for index, column in enumerate(columns)
    ]
    console = _console()
    kept = list(range(len(columns)))
    if console.is_terminal:
        whole = widths
        widths = [
            min(width, LEAST_WRAPPED) if column.wrap else width for column, width in zip(columns, whole, strict=True)
        ]
        while (left := _left(console, widths, kept)) < 0:
            worst = max(kept, key=lambda index: (columns[index].drop, index))
            if columns[worst].drop == 0:
                break
            kept.remove(worst)
        if left < 0:  # what must stay does not fit: the widest gives way, with an ellipsis where it cannot wrap
            widest = max(kept, key=lambda index: (columns[index].wrap, widths[index]))
            widths[widest] = max(widths[widest] + left, 8)
        for index in kept:  # what is left over is for those that wrap
            if columns[index].wrap:
                more = max(min(whole[index] - widths[index], _left(console, widths, kept)), 0)
                widths[index] += more
    header = [Text(columns[index].title, style="bold") for index in kept]
    _print_row(console, columns, header, widths, kept)
    for row in cells:
        texts = [
            Text(row[index], style=STYLES.get(row[index], "") if columns[index].coloured else "") for index in kept
        ]
        _print_row(console, columns, texts, widths, kept)


def _left(console: Console, widths: Sequence[int], kept: Sequence[int]) -> int:
    return console.width - (sum(widths[index] + 2 for index in kept) - 2)


def _print_row(
    console: Console, columns: Sequence[Column], texts: list[Text], widths: list[int], kept: list[int]
) -> None:
    lines = [
        list(text.wrap(console, widths[index])) if columns[index].wrap and text.cell_len > widths[index] else [text]
        for index, text in zip(kept, texts, strict=True)
    ]
    for line in zip_longest(*lines, fillvalue=Text()):
        _print_line_of_row(console, columns, [text.copy() for text in line], widths, kept)


def _print_line_of_row(
    console: Console, columns: Sequence[Column], texts: list[Text], widths: list[int], kept: list[int]
) -> None:
    line = Text()
    for place, (index, text) in enumerate(zip(kept, texts, strict=True)):
        text.truncate(widths[index], overflow="ellipsis")
        padding = " " * (widths[index] - text.cell_len)
        if columns[index].right:
            line.append(padding)
        line.append_text(text)
        if not columns[index].right and place < len(kept) - 1:
            line.append(padding)
        if place < len(kept) - 1:
            line.append("  ")
    console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)


def print_pairs(pairs: Mapping[str, object]) -> None:
    """Names and values, aligned; the ones that are None are left out."""
    console = _console()
    shown = {name: _as_text(value) for name, value in pairs.items() if value is not None}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        line = Text(f"{name}:".ljust(width + 2), style="bold")
        line.append(value, style=STYLES.get(value, "not bold") if name in {"state", "outcome"} else "not bold")
        console.print(line, soft_wrap=True)


def print_heading(text: str) -> None:
    """A line above a part of a longer answer."""
    console = _console()
    console.print()
    console.print(Text(strip_controls(text), style="bold underline"), soft_wrap=True)


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Progress on standard error: a spinner on a terminal, else a line for each new state (none if ``quiet``)."""
    if not sys.stderr.isatty():
        yield _Lines(quiet=quiet)
        return
    with Status(Text("…"), console=Console(stderr=True, highlight=False)) as status:
        yield _Spinner(status)


class _Lines:
    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._last = ""

    def say(self, text: str) -> None:
        if text != self._last and not self._quiet:
            print_note(text)
        self._last = text


class _Spinner:
    def __init__(self, status: Status) -> None:
        self._status = status

    def say(self, text: str) -> None:
        from rich.text import Text

        self._status.update(Text(strip_controls(text)))


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _as_text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return strip_controls(str(value))
