"""Page tokens come back as they were made, and anything else is refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from overworld.domain.errors import BadInput
from overworld.store.pages import Order, check_page_size, cut_page
from overworld.store.tables import event, server

BY_TIME = Order("servers created_at", (server.c.created_at, server.c.id), (datetime, str))
BY_NUMBER = Order("events", (event.c.id,), (int,))


def encode(value: Any) -> str:
    """A token of any JSON."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@given(st.datetimes(timezones=st.just(UTC)), st.text(alphabet="bcdf23", min_size=1))
def test_a_token_names_the_row_it_was_made_of(at: datetime, identifier: str) -> None:
    """What goes into a token comes out of it as the parameters of the next page."""
    statement = BY_TIME.after(select(server), BY_TIME.token((at, identifier)))
    assert {at, identifier} <= set(statement.compile().params.values())


HOSTILE = [
    "",
    "x",
    "%00",
    "ü",
    "a" * 3000,
    "-" * 40,
    encode(None),
    encode([]),
    encode({}),
    encode(["events"]),
    encode(["events", "1"]),
    encode(["events", True]),
    encode(["events", 1.5]),
    encode(["events", None]),
    encode(["events", 2**63]),
    encode(["events", -(2**63) - 1]),
    encode(["events", 1, 2]),
    encode(["tokens", 1]),
    encode(["servers created_at", "2026-01-01T00:00:00+00:00", "bcd"]),
    encode([[[[[["events"]]]]]]),
    base64.urlsafe_b64encode(b"[" * 1400).decode(),
    base64.urlsafe_b64encode(b'["events", NaN]').decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
]


@pytest.mark.parametrize("token", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_token_is_bad_input(token: str) -> None:
    """Whatever it is, it is refused by a sentence and never reaches the database."""
    with pytest.raises(BadInput, match="page token"):
        BY_NUMBER.after(select(event), token)


@pytest.mark.parametrize(
    "key",
    [
        ["2026-01-01T00:00:00", "bcd"],  # no zone
        ["yesterday", "bcd"],
        ["2026-01-01T00:00:00+00:00", "b\0cd"],
        ["2026-01-01T00:00:00+00:00", "b\ud800"],
        ["2026-01-01T00:00:00+00:00", 7],
        [7, "bcd"],
    ],
)
def test_a_token_with_a_wrong_key_is_bad_input(key: list[object]) -> None:
    """The right list and the wrong kind of values is refused too."""
    with pytest.raises(BadInput, match="page token"):
        BY_TIME.after(select(server), encode(["servers created_at", *key]))


@given(st.text())
def test_any_text_is_a_token_or_bad_input(text: str) -> None:
    """Nothing else is ever raised."""
    with pytest.raises(BadInput):
        BY_NUMBER.after(select(event), text)


@pytest.mark.parametrize("size", [0, -1, 1001, 10**12])
def test_a_page_size_out_of_bounds_is_bad_input(size: int) -> None:
    """1 to 1000, and the error says so."""
    with pytest.raises(BadInput, match="1 to 1000"):
        check_page_size(size)


def test_the_last_page_has_no_token() -> None:
    """Exactly as many as fit: no further page is promised; one more: it is."""
    assert cut_page([1, 2], BY_NUMBER, 2, lambda item: (item,)).next_token is None
    page = cut_page([1, 2, 3], BY_NUMBER, 2, lambda item: (item,))
    assert page.items == (1, 2)
    assert page.next_token == BY_NUMBER.token((2,))
