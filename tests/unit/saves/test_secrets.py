"""Passwords of repositories are wrapped under the installation's keys, and keys can be rotated."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.errors import BadInput, SaveStoreRefused
from overworld.saves.secrets import Keyring, load_or_make_keyring, new_key, new_password, parse_keyring

RING = Keyring((new_key("one"),))


@given(st.text(), st.text(max_size=40))
def test_what_is_wrapped_is_unwrapped(secret: str, purpose: str) -> None:
    """Any text, for any purpose."""
    assert RING.unwrap(RING.wrap(secret, purpose), purpose) == secret


def test_no_secret_shows(tmp_path: Path) -> None:
    """Neither in what is stored nor when a keyring is printed; and wrapping twice gives two texts."""
    wrapped = RING.wrap("hunter2", "server")
    assert "hunter2" not in wrapped.text
    assert b"hunter2" not in base64.urlsafe_b64decode(wrapped.text)
    assert wrapped != RING.wrap("hunter2", "server")
    assert base64.b64encode(RING.keys[0].key).decode() not in repr(RING)


@pytest.mark.parametrize("position", [0, 5, 20, -1])
def test_a_changed_row_does_not_open(position: int) -> None:
    """One changed bit anywhere is noticed."""
    wrapped = RING.wrap("secret", "server")
    raw = bytearray(base64.urlsafe_b64decode(wrapped.text))
    raw[position] ^= 1
    with pytest.raises(SaveStoreRefused) as caught:
        RING.unwrap(replace(wrapped, text=base64.urlsafe_b64encode(raw).decode()), "server")
    assert caught.value.reason == "WrongSaveKey"


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "ü"])
def test_a_row_that_is_nonsense_does_not_open(text: str) -> None:
    """And says the same."""
    with pytest.raises(SaveStoreRefused, match="does not open"):
        RING.unwrap(replace(RING.wrap("secret", "server"), text=text), "server")


def test_the_row_of_another_server_does_not_open() -> None:
    """A wrapped password is bound to what it is for."""
    with pytest.raises(SaveStoreRefused, match="does not open"):
        RING.unwrap(RING.wrap("secret", "mine"), "theirs")


def test_keys_are_rotated_without_touching_a_repository() -> None:
    """A new key first, every row wrapped anew, the old key taken away: the passwords are the same."""
    wrapped = RING.wrap("secret", "server")
    both = Keyring((new_key("two"), *RING.keys))
    again = both.rewrap(wrapped, "server")
    assert again.key_id == "two"
    assert both.rewrap(again, "server") is again
    only_new = Keyring(both.keys[:1])
    assert only_new.unwrap(again, "server") == "secret"
    with pytest.raises(SaveStoreRefused, match="'one'") as caught:
        only_new.unwrap(wrapped, "server")
    assert caught.value.reason == "NoSaveKey"


def test_a_keyring_is_written_and_read() -> None:
    """As the text of a setting."""
    ring = Keyring((new_key("two"), new_key("one")))
    assert parse_keyring(ring.format()) == ring


@pytest.mark.parametrize("text", ["", "one", "one:AAAA", "one:%%%", ":QUFB", "a b", f"o ne:{'A' * 44}"])
def test_a_wrong_setting_is_explained_without_showing_it(text: str) -> None:
    """The sentence says the form."""
    with pytest.raises(BadInput, match="ID:KEY") as caught:
        parse_keyring(text)
    assert "AAAA" not in caught.value.detail
    assert "%%%" not in caught.value.detail


def test_a_key_id_comes_once() -> None:
    """Two keys of one id would make it a matter of luck which one opens."""
    with pytest.raises(BadInput):
        Keyring((new_key("one"), new_key("one")))


def test_the_keyring_of_one_machine_is_made_once(tmp_path: Path) -> None:
    """By whoever is first, readable for its owner alone, and the same for everybody."""
    file = tmp_path / "save-keys"
    with ThreadPoolExecutor(8) as threads:
        rings = list(threads.map(lambda _: load_or_make_keyring(file), range(16)))
    assert len({ring.format() for ring in rings}) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_passwords_are_long_and_new() -> None:
    """256 bits each."""
    passwords = {new_password() for _ in range(100)}
    assert len(passwords) == 100
    assert all(len(password) == 43 for password in passwords)
