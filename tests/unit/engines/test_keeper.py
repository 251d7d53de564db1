"""What the keeper does to bytes: lines, text, the log and the game's own log file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.engines import keeper
from overworld.engines.keeper import LINE_BYTES, Log, Splitter, Tail, clean, write_state


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"windows\r", "windows"),
        (b"a\tb", "a b"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]0;title\x1b\\after", "after"),
        (b"\x1b[2J\x1b[1;1Hscreen\x1bM", "screen"),
        (b"\x1b[", ""),
        (b"bell\x07 null\x00 c1\xc2\x9b", "bell null c1"),
        ("\u202egpj.exe".encode(), "gpj.exe"),
        ("Grüße 🎮".encode(), "Grüße 🎮"),
        (b"\xff\xfe", "��"),
    ],
)
def test_a_line_is_only_text(raw: bytes, text: str) -> None:
    """No escape sequence, control character or trick of writing direction reaches a log or a terminal."""
    assert clean(raw) == text


@given(st.binary(max_size=500))
def test_no_bytes_make_anything_but_text(raw: bytes) -> None:
    """Whatever a game writes."""
    assert clean(raw).isprintable()


@given(st.lists(st.binary(max_size=40)))
def test_lines_do_not_depend_on_how_they_arrive(chunks: list[bytes]) -> None:
    """Cut anywhere, the same lines come out."""
    splitter = Splitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.flush()
    whole = b"".join(chunks).split(b"\n")
    assert lines == (whole[:-1] if whole[-1] == b"" else whole)


def test_a_line_without_end_is_kept_in_part_and_once() -> None:
    """Memory is bounded by one line, and the next line is whole again."""
    splitter = Splitter()
    lines = [line for _ in range(1000) for line in splitter.feed(b"x" * LINE_BYTES)]
    assert len(lines) == 1
    assert splitter.feed(b"rest of it\nnext\n") == [b"next"]
    assert splitter.flush() == []


def test_ids_grow_over_restarts(tmp_path: Path) -> None:
    """A keeper goes on where the last one ended, even if the clock went back."""
    path = str(tmp_path / "console.log")
    first = [Log(path).write(f"line {number}") for number in range(3)]
    future = 9_000_000_000_000_000
    with open(path, "a") as file:
        file.write(f"{future} from the future\n")
    assert first == sorted(set(first))
    assert Log(path).write("after") == future + 1


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    """A disk that was full left half a line."""
    path = tmp_path / "console.log"
    path.write_text("5 whole\n6 ha")
    line_id = Log(str(path)).write("next")
    assert path.read_text() == f"5 whole\n6 ha\n{line_id} next\n"


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files, and the newest lines are in them."""
    monkeypatch.setattr(keeper, "LOG_BYTES", 1000)
    log = Log(str(tmp_path / "console.log"))
    for number in range(500):
        log.write(f"line {number}")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    assert (tmp_path / "console.log").read_text().endswith("line 499\n")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_log_file_is_read_from_where_it_ended(tmp_path: Path) -> None:
    """Then what is added, and a new or a shortened file from its beginning."""
    path = tmp_path / "game.log"
    path.write_text("of an earlier run\n")
    tail = Tail(str(tmp_path), str(path), None)
    assert tail.read() == b""
    with path.open("a") as file:
        file.write("new\n")
    assert tail.read() == b"new\n"
    path.write_text("cut\n")
    assert tail.read() == b"cut\n"
    path.rename(tmp_path / "old.log")
    assert tail.read() == b""
    path.write_text("another file, and a longer one\n")
    assert tail.read() == b"another file, and a longer one\n"


def test_a_log_file_below_a_link_is_not_read(tmp_path: Path) -> None:
    """No part of its path may lead out of the world."""
    world, outside = tmp_path / "world", tmp_path / "outside"
    world.mkdir()
    outside.mkdir()
    tail = Tail(str(world), str(world / "logs/game.log"), None)
    (outside / "game.log").write_text("secret\n")
    (world / "logs").symlink_to(outside)
    assert tail.read() == b""
    with pytest.raises(ValueError, match="not inside the world"):
        Tail(str(world), str(world / "../outside/game.log"), None)


def test_a_state_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no new file can be made, the old one is overwritten."""
    monkeypatch.chdir(tmp_path)
    write_state({"phase": "ready", "last_exit": None})
    os.mkdir("state.json.new")  # stands in for a disk without room
    write_state({"phase": "stopped", "last_exit": {"lines": ["x"], "status": 0}})
    assert json.loads(Path("state.json").read_text()) == {"phase": "stopped", "last_exit": {"lines": [], "status": 0}}
