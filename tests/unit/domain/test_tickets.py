"""Tickets say what may be done, for a while, and nobody can make or change one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.errors import NotAuthenticated
from overworld.domain.tickets import LIFETIME, Ticket, open_ticket, seal_ticket

KEY = b"k" * 32
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TICKET = Ticket("acc", "srv", 3, {"verb": "read", "path": "a\nb\U0010ff80"}, NOW + LIFETIME)


def test_a_ticket_comes_back_as_it_was() -> None:
    """With the same key, until it expires."""
    assert open_ticket(seal_ticket(TICKET, KEY), KEY, NOW) == TICKET
    assert open_ticket(seal_ticket(TICKET, KEY), KEY, NOW + LIFETIME) == TICKET


@pytest.mark.parametrize(
    ("key", "now"),
    [(b"x" * 32, NOW), (KEY, NOW + LIFETIME + timedelta(seconds=1)), (KEY, NOW - timedelta(minutes=2))],
)
def test_another_key_or_time_is_refused(key: bytes, now: datetime) -> None:
    """Signed with another key, too old, or from the future."""
    with pytest.raises(NotAuthenticated):
        open_ticket(seal_ticket(TICKET, KEY), key, now)


@given(place=st.integers(0, 400), letter=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef0123456789-_."))
def test_no_character_can_be_changed(place: int, letter: str) -> None:
    """A ticket with another character anywhere is no ticket (or says the same, where base64 has bits to spare)."""
    sealed = seal_ticket(TICKET, KEY)
    place %= len(sealed)
    changed = sealed[:place] + letter + sealed[place + 1 :]
    try:
        assert open_ticket(changed, KEY, NOW) == TICKET
    except NotAuthenticated:
        return


@given(text=st.text())
def test_no_text_is_a_ticket(text: str) -> None:
    """Whatever is sent, it is refused and not a fault."""
    with pytest.raises(NotAuthenticated):
        open_ticket(text, KEY, NOW)


def test_a_short_key_signs_nothing() -> None:
    """Under 32 bytes there is no ticket."""
    with pytest.raises(ValueError, match="32 bytes"):
        seal_ticket(TICKET, b"short")
