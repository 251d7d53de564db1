"""Nothing that others wrote reaches the terminal as a command."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.cli.safe_text import keep_colours, strip_controls

HOSTILE = st.text(
    st.one_of(
        st.sampled_from("\x1b\x9b\x9d\x90\x07\x08\r\n\t[]()?;:0123456789mHJKhlP\\\u202e\u2028ab "), st.characters()
    ),
    max_size=60,
)
COLOUR = re.compile(r"\x1b\[[0-9;]+m")


@given(HOSTILE)
def test_stripped_text_has_no_control_characters(text: str) -> None:
    """Whatever goes in, one line without controls and without anything that turns its direction comes out."""
    stripped = strip_controls(text)
    assert [char for char in stripped if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}] == []
    assert not set(stripped) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


@given(HOSTILE)
def test_coloured_text_has_colours_only_and_ends_them(text: str) -> None:
    """What is left after taking the colours away is stripped text, and a colour never outlives its line."""
    coloured = keep_colours(text)
    plain = COLOUR.sub("", coloured)
    assert strip_controls(plain) == plain
    assert "\x1b" not in coloured or coloured.endswith("\x1b[0m")


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("\x1b]0;title\x07hello", "hello"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGk=\x07clip", "clip"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("a\rb\nc", "a b c"),
        ("\x1bP+q\x1b\\x", "x"),
        ("\x9b31mred", "red"),
        ("a\x08\x08b", "ab"),
        ("\x1b[?1049hscreen", "screen"),
        ("\x1b[6n", ""),
    ],
)
def test_sequences_vanish_whole(hostile: str, safe: str) -> None:
    """Titles, links, the clipboard, cursor movement and reports leave nothing behind."""
    assert strip_controls(hostile) == safe
    assert keep_colours(hostile).removesuffix("\x1b[0m").removeprefix("\x1b[31m") == safe


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
        ("\x1b[1;38;5;8mgrey\x1b[0m", "\x1b[1;38;5;8mgrey\x1b[0m\x1b[0m"),
        ("\x1b[38;2;1;2;3mx", "\x1b[38;2;1;2;3mx\x1b[0m"),
        ("\x1b[8mhidden", "hidden"),
        ("\x1b[5;31mblink", "\x1b[31mblink\x1b[0m"),
        ("\x1b[38;5mhalf", "half"),
        ("\x1b[mreset", "\x1b[0mreset\x1b[0m"),
        ("\x1b[>4;2mkeys", "keys"),
    ],
)
def test_colours_stay_and_tricks_go(given_text: str, kept: str) -> None:
    """Colours stay as they are; concealing, blinking, and half a colour do not."""
    assert keep_colours(given_text) == kept
