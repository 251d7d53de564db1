"""The words for people in which times, ends and crashes of a game are told."""

from __future__ import annotations

from datetime import datetime, timedelta

from overworld.domain.exits import Exit
from overworld.domain.observed import ProcessSeen

LONGEST_LINE = 200


def say_time(moment: datetime) -> str:
    """The moment to the second, in UTC, with its day."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def say_duration(duration: timedelta) -> str:
    """A duration in the largest unit that divides it: "2 minutes", "90 seconds", "7 days"."""
    seconds = round(duration.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds and seconds % size == 0:
            return _count(seconds // size, unit)
    return _count(seconds, "second")


def say_exit(end: Exit) -> str:
    """What follows "The game …": how and when it ended."""
    if end.lost_with is not None:
        return f"was lost with its node {end.lost_with} at {say_time(end.at)}"
    how = f"was ended by {end.signal}" if end.signal is not None else f"ended with exit status {end.status}"
    return f"{how} at {say_time(end.at)}"


def say_crash(process: ProcessSeen, *, memory_mib: int) -> str:
    """Why a game that should run does not, its last words, when it is tried again, and what its owner can do."""
    end = process.last_exit
    if end is None:
        told = "The game ended without being asked to."
    elif end.out_of_memory:
        told = f"The game used more than its {memory_mib} MiB of memory and was ended at {say_time(end.at)}."
    else:
        told = f"The game {say_exit(end)} without being asked to."
    last_words = next((line for line in reversed(end.lines if end is not None else ()) if line.strip()), None)
    if last_words is not None:
        told += f' Its last line was: "{clean_line(last_words)}".'
    if process.next_start_at is not None:
        told += f" It is started again at {say_time(process.next_start_at)}"
        told += f", after {_count(process.crashes, 'crash')} in a row." if process.crashes > 1 else "."
    if end is not None and end.out_of_memory:
        return f"{told} Give it more memory if this comes again."
    return f"{told} Its console tells more." if process.crashes > 1 else told


def clean_line(line: str) -> str:
    """A line that a game wrote, fit to stand in a sentence: without control characters (PostgreSQL stores no NUL, a
    terminal obeys the others) and not too long."""
    printable = "".join(char if char.isprintable() else " " for char in line).strip()
    return printable if len(printable) <= LONGEST_LINE else printable[: LONGEST_LINE - 1] + "…"


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("sh") else "s"
    return f"{number} {noun}" + ("" if number == 1 else plural)
