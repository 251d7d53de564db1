"""What a server may be called."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.errors import BadInput
from overworld.services.names import MAX_NAME_CHARACTERS, clean_name


@pytest.mark.parametrize(
    "name",
    ["Home", "我的世界", "Größe 2", "Дом", "x", "x" * 63, "❤️ Home", "a-b_c.d!", "سيرفر", "नमस्ते", 'O\'Neil & "co"'],
)
def test_names_that_can_be_seen_are_fine(name: str) -> None:
    """Letters of every script, digits, marks, symbols and inner spaces stay as they are."""
    assert clean_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "   ", "x" * 64, "a\nb", "a\tb", "a\x00b", "a\x1bb", "a\x85b", "a\u200bb", "a\u200db", "a\u202eb", "a\u2066b",
     "a\ufeffb", "a\u2028b", "a\u3164b", "\u2800", "a\ue000b", "a\U000e0041b", "a\u00adb", "\u0301", "a\ud800b"],
)  # fmt: skip
def test_names_that_deceive_are_refused(name: str) -> None:
    """Nothing invisible, nothing that turns the text round, nothing empty; and it says where the fault is."""
    with pytest.raises(BadInput) as caught:
        clean_name(name, at="/label")
    assert caught.value.extra["errors"] == [{"at": "/label", "says": caught.value.detail[9:-1]}]


def test_spaces_around_a_name_are_not_part_of_it() -> None:
    """Also the wide ones."""
    assert clean_name(" \u3000Home\u00a0 ") == "Home"


def test_two_ways_to_write_a_letter_are_one_name() -> None:
    """Composed and decomposed letters give the same name, so that unique means unique."""
    assert clean_name("Cafe\u0301") == clean_name("Café")


@given(st.text())
def test_a_cleaned_name_is_clean(text: str) -> None:
    """Whatever is given is refused, or gives a name of 1-63 characters that stays the same when cleaned again."""
    try:
        name = clean_name(text)
    except BadInput:
        return
    assert 1 <= len(name) <= MAX_NAME_CHARACTERS
    assert clean_name(name) == name
    assert not any(unicodedata.category(character).startswith("C") for character in name)
