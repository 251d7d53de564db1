"""Reading the console log backwards."""

from __future__ import annotations

from pathlib import Path

from overworld.engines.local.lines import last_id, read_lines


def texts(run: Path, *, after: int = 0, limit: int = 1000) -> list[str]:
    """The texts of the lines read."""
    return [line.text for line in read_lines(run, after=after, limit=limit)]


def test_lines_span_both_files_and_any_number_of_blocks(tmp_path: Path) -> None:
    """Newest last, cut at the limit and at the id."""
    lines = [f"{number} {number} {'ü' * 90}\n" for number in range(1, 5001)]
    (tmp_path / "console.log.1").write_text("".join(lines[:2500]))
    (tmp_path / "console.log").write_text("".join(lines[2500:]))
    assert [int(text.split()[0]) for text in texts(tmp_path, limit=6000)] == list(range(1, 5001))
    assert [int(text.split()[0]) for text in texts(tmp_path, after=4990)] == list(range(4991, 5001))
    assert [int(text.split()[0]) for text in texts(tmp_path, limit=3)] == [4998, 4999, 5000]
    assert last_id(tmp_path) == 5000


def test_what_is_torn_or_half_written_is_left_out(tmp_path: Path) -> None:
    """And a rotation in between shows no line twice."""
    (tmp_path / "console.log").write_text("3 three\ngarbage\n\n4 four\n5 still being wri")
    (tmp_path / "console.log.1").write_text("1 one\n2 \n3 three\n")
    assert texts(tmp_path) == ["one", "", "three", "four"]


def test_nothing_is_no_lines(tmp_path: Path) -> None:
    """No folder, no file, an empty file."""
    assert texts(tmp_path / "nowhere") == []
    assert last_id(tmp_path) == 0
    (tmp_path / "console.log").touch()
    assert texts(tmp_path) == []


def test_a_single_line_longer_than_a_block_is_one_line(tmp_path: Path) -> None:
    """Blocks are no borders."""
    (tmp_path / "console.log").write_text(f"1 {'x' * 200_000}\n2 short\n")
    assert [len(text) for text in texts(tmp_path)] == [200_000, 5]
