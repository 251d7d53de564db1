"""Which URLs lead to a database."""

from __future__ import annotations

import pytest

from overworld.domain.errors import BadInput
from overworld.store.codecs import clean_text
from overworld.store.database import parse_url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+asyncpg"])
def test_every_spelling_of_postgresql_means_psycopg(scheme: str) -> None:
    """The driver is ours to choose."""
    url = parse_url(f"{scheme}://ann:secret@host:5433/name?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.host, url.port, url.database) == ("ann", "host", 5433, "name")
    assert url.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    "url", ["mysql://ann:secret@host/name", "sqlite:///ow.db", "secret", "", "postgresql://h:port/"]
)
def test_another_url_is_refused_without_repeating_its_password(url: str) -> None:
    """The sentence says what a right one looks like."""
    with pytest.raises(BadInput, match="postgresql://user:password@host/name") as caught:
        parse_url(url)
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("seen", ["a\0b", "half \ud800 pair", "fine ☃ 𝄞"])
def test_what_a_game_prints_can_always_be_stored(seen: str) -> None:
    """NUL and half surrogate pairs are replaced, the rest stays."""
    cleaned = clean_text(seen)
    assert "\0" not in cleaned
    assert cleaned.encode()
    assert clean_text("fine ☃ 𝄞") == "fine ☃ 𝄞"
