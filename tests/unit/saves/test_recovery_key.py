"""The recovery key: written by hand and read again, with its slips found."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.errors import BadInput
from overworld.saves.recovery_key import new_recovery_key, parse_recovery_key

KEYS = st.builds(new_recovery_key)


@given(KEYS, st.sampled_from(["", " ", "\n", "--"]), st.booleans())
def test_it_is_read_however_it_is_written(key: str, between: str, is_lower: bool) -> None:
    """Without dashes, with spaces, in lower case, with O, I and L for the digits that they look like."""
    written = key.replace("-", between).replace("0", "O").replace("1", "l")
    assert parse_recovery_key(written.lower() if is_lower else written) == key


@given(KEYS, st.integers(0, 31), st.sampled_from("23456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_letter_is_found_nearly_always(key: str, at: int, letter: str) -> None:
    """Fifteen bits of it are there for that alone; the error never repeats the key."""
    letters = list(key.replace("-", ""))
    if letters[at] == letter:
        return
    letters[at] = letter
    written = "".join(letters)
    with suppress(BadInput):
        assert parse_recovery_key(written) != key  # one in 32,768 is taken for another key


def test_an_error_never_repeats_the_key() -> None:
    """It may be shown to others, or logged."""
    key = new_recovery_key()
    for wrong in (key[:-1], key[:-1] + ("0" if key[-1] != "0" else "1")):
        with pytest.raises(BadInput) as refused:
            parse_recovery_key(wrong)
        assert key[:5] not in refused.value.detail


@pytest.mark.parametrize("text", ["", "ABCDE", "!" * 35, "A" * 36, "ä" * 35])
def test_what_is_no_key_is_refused(text: str) -> None:
    """And its length said."""
    with pytest.raises(BadInput, match="no recovery key"):
        parse_recovery_key(text)


def test_no_two_are_the_same() -> None:
    """They are 160 random bits."""
    assert len({new_recovery_key() for _ in range(1000)}) == 1000
