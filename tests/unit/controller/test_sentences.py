"""Words for people: durations, ends and lines that games wrote."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controlling import BEGINNING
from overworld.controller.sentences import LONGEST_LINE, clean_line, say_crash, say_duration, say_exit
from overworld.domain.exits import Exit
from overworld.domain.observed import Phase, ProcessSeen


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=90), "90 seconds"),
        (timedelta(minutes=2), "2 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(days=7), "7 days"),
        (timedelta(), "0 seconds"),
    ],
)
def test_durations_are_told_in_the_largest_unit_that_divides_them(duration: timedelta, words: str) -> None:
    """No fractions."""
    assert say_duration(duration) == words


def test_ends_are_told_by_status_or_signal() -> None:
    """With their time."""
    at = "at 2030-01-01 12:00:00 UTC"
    assert say_exit(Exit(BEGINNING, 3, None, True, None)) == f"ended with exit status 3 {at}"
    assert say_exit(Exit(BEGINNING, None, "SIGSEGV", False, None)) == f"was ended by SIGSEGV {at}"


def test_a_line_of_a_game_cannot_harm_a_terminal_or_the_database() -> None:
    """Control characters become spaces, long lines are cut."""
    assert clean_line("\x1b[31mred\x00 \u202eevil\n") == "[31mred   evil"
    assert len(clean_line("x" * 10_000)) == LONGEST_LINE


def test_too_little_memory_is_told_with_what_to_do() -> None:
    """The limit, and that more would help."""
    end = Exit(BEGINNING, None, "SIGKILL", False, False, out_of_memory=True)
    told = say_crash(ProcessSeen(Phase.WAITING, BEGINNING, "", 0, 1, end, BEGINNING), memory_mib=512)
    assert "more than its 512 MiB" in told
    assert told.endswith("Give it more memory if this comes again.")
