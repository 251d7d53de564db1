"""What differs between two configurations, and what of it is shown."""

from __future__ import annotations

from typing import Any

from overworld.domain.revisions import MOST_LINES, Change, compare_settings, compare_texts, flatten

BASE: dict[str, Any] = {"name": "Home", "memory_mib": 512, "disk_mib": None, "variables": {"pvp": True, "password": ""}}


def changed(**variables: object) -> dict[str, Any]:
    """The same with other variables."""
    return {**BASE, "variables": {**BASE["variables"], **variables}}


def test_equal_ones_differ_in_nothing() -> None:
    """Whatever there is no choice of is no setting."""
    assert compare_settings(BASE, {**BASE, "network": None}) == ()
    assert "disk_mib" not in flatten(BASE)


def test_each_setting_that_differs_is_named_with_both_values() -> None:
    """In the order of names; what came or went has None on the other side."""
    after = {**changed(pvp=0, new="x"), "memory_mib": 1024}
    del after["variables"]["password"]
    assert compare_settings(BASE, after) == (
        Change("memory_mib", 512, 1024, False),
        Change("variables.new", None, "x", False),
        Change("variables.password", "", None, False),
        Change("variables.pvp", True, 0, False),
    )


def test_a_secret_is_said_to_differ_and_not_how() -> None:
    """Neither value is there."""
    assert compare_settings(BASE, changed(password="hunter2"), ["password"]) == (
        Change("variables.password", None, None, True),
    )


def test_texts_are_compared_line_by_line() -> None:
    """With what has no line end at its end; nothing for equal ones, and no word of what is too long."""
    assert compare_texts("a\nb\n", "a\nc") == "@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n"
    assert compare_texts("a\n", "a\n") == ""
    assert compare_texts("a\n", "b\n" * (MOST_LINES + 1)) is None
