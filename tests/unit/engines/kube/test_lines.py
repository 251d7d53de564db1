"""Lines of a pod's log and their ids."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from overworld.engines.kube.lines import Ids, merge_lines, parse_id, parse_line, since_parameter

RAW = "2026-11-23T10:00:00.123456789Z line 1"
LINE_ID = 1795428000123456789


def test_a_lines_time_is_its_id() -> None:
    """To the nanosecond."""
    line = parse_line(RAW, Ids())
    assert line is not None
    assert (line.id, line.text) == (str(LINE_ID), "line 1")
    assert line.at == datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "nanoseconds"),
    [("2026-11-23T10:00:00Z", 0), ("2026-11-23T10:00:00.5Z x", 500_000_000), ("2026-11-23T10:00:00.000000001Z x", 1)],
)
def test_any_number_of_digits_is_read(raw: str, nanoseconds: int) -> None:
    """Go leaves zeros at the end out."""
    line = parse_line(raw, Ids())
    assert line is not None
    assert int(line.id) % 1_000_000_000 == nanoseconds


@pytest.mark.parametrize("raw", ["", "unable to retrieve container logs", "2026-13-99T10:00:00Z x", "٣Z x"])
def test_what_has_no_time_is_no_line(raw: str) -> None:
    """The kubelet's own words."""
    assert parse_line(raw, Ids()) is None


def test_lines_of_one_nanosecond_have_ids_of_their_own() -> None:
    """Or one of them would be lost when a stream resumes."""
    ids = Ids()
    found = [parse_line(RAW, ids) for _ in range(3)]
    assert [line.id for line in found if line] == [str(LINE_ID + number) for number in range(3)]


@pytest.mark.parametrize("text", [None, "gone", "", "-1", "٣", "9" * 20])
def test_an_id_that_no_log_gave_is_none(text: str | None) -> None:
    """It means: from the beginning."""
    assert parse_id(text) == 0


def test_the_api_is_asked_from_the_whole_second_before() -> None:
    """It knows no fractions; what comes twice is left out by its id."""
    assert since_parameter(LINE_ID) == {"sinceTime": "2026-11-23T10:00:00Z"}
    assert since_parameter(0) == {}


def test_two_containers_are_one_log() -> None:
    """In order, and none twice."""
    ids = Ids()
    first, second, third = (line for _ in range(3) if (line := parse_line(RAW, ids)))
    assert merge_lines([first, second], [second, third]) == [first, second, third]
    assert merge_lines([], [first]) == [first]
    assert merge_lines([first], []) == [first]
