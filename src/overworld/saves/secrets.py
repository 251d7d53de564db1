"""Passwords of repositories, wrapped before they are stored, so that the database alone opens no save.

A wrapped secret is AES-256-GCM under one of the installation's keys (NIST SP 800-38D), with a nonce of its own and
bound to its key and to what it is for: put into another server's row it does not open. Keys have ids; the first of a
keyring wraps, all of them unwrap. To rotate: put a new key first, ``rewrap`` every row, take the old key away. No
repository is touched by it, since the password inside stays the same.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overworld.domain.errors import BadInput, SaveStoreRefused

_KEY_BYTES, _NONCE_BYTES = 32, 12
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_FORM = "save keys are written ID:KEY, one after another with spaces between, each KEY 32 bytes in base64"


def new_password() -> str:
    """A new repository's password: 256 random bits, as text."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A secret that only the key ``key_id`` opens. Safe to store and to print."""

    key_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Key:
    """One of the installation's keys. Printing it shows its id alone."""

    key_id: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.key_id) or len(self.key) != _KEY_BYTES:
            raise BadInput(f"The save key {self.key_id!r} is not one: {_FORM}.")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The installation's keys, the one that wraps first."""

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        ids = [key.key_id for key in self.keys]
        if not ids or len(set(ids)) != len(ids):
            raise BadInput(f"There must be at least one save key, and each id once: {_FORM}.")

    def wrap(self, secret: str, purpose: str) -> Wrapped:
        """The secret under the first key. ``purpose`` (such as the server's id) must be said again to open it."""
        key = self.keys[0]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(key.key).encrypt(nonce, secret.encode(), _bound_to(key.key_id, purpose))
        return Wrapped(key.key_id, base64.urlsafe_b64encode(nonce + sealed).decode())

    def unwrap(self, wrapped: Wrapped, purpose: str) -> str:
        """The secret. Raises ``SaveStoreRefused`` (``NoSaveKey`` if its key is not among ours, ``WrongSaveKey`` if it
        does not open: another key under that id, another purpose, or a changed row)."""
        key = next((key for key in self.keys if key.key_id == wrapped.key_id), None)
        if key is None:
            raise SaveStoreRefused(
                "NoSaveKey",
                f"These saves are locked with the save key {wrapped.key_id!r}, which Overworld no longer has: give it"
                " back to it, after the one that is in use.",
            )
        try:
            raw = base64.b64decode(wrapped.text, altchars=b"-_", validate=True)
            return (
                AESGCM(key.key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound_to(key.key_id, purpose)).decode()
            )
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise SaveStoreRefused(
                "WrongSaveKey",
                f"The save key {wrapped.key_id!r} does not open the password of these saves: it is another key than"
                " the one they were locked with, or the row was changed.",
            ) from error

    def rewrap(self, wrapped: Wrapped, purpose: str) -> Wrapped:
        """The same secret under the first key; the very same object if it is already. Safe to call twice."""
        if wrapped.key_id == self.keys[0].key_id:
            return wrapped
        return self.wrap(self.unwrap(wrapped, purpose), purpose)

    def format(self) -> str:
        """The text that ``parse_keyring`` reads. It is all the secrets there are: mind where it goes."""
        return " ".join(f"{key.key_id}:{base64.b64encode(key.key).decode()}" for key in self.keys)


def new_key(key_id: str) -> Key:
    """A new random key."""
    return Key(key_id, secrets.token_bytes(_KEY_BYTES))


def parse_keyring(text: str) -> Keyring:
    """The keys of a setting. Raises ``BadInput``, which shows no key."""
    keys = []
    for number, word in enumerate(text.split(), start=1):
        key_id, separator, encoded = word.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise BadInput(f"Save key number {number} is not base64: {_FORM}.") from error
        if not separator or not _ID.fullmatch(key_id):
            raise BadInput(f"Save key number {number} has no id: {_FORM}.")
        keys.append(Key(key_id, key))
    return Keyring(tuple(keys))


def load_or_make_keyring(file: Path) -> Keyring:
    """The keyring in a file of mode 0600, made with one new key if there is no file. Two processes that make it at once
    get the same one. For an installation on one machine, where nobody sets a key."""
    with contextlib.suppress(FileExistsError):
        _write_new(file, Keyring((new_key("first"),)).format())
    return parse_keyring(file.read_text(encoding="ascii"))


def write_keyring(file: Path, keyring: Keyring) -> None:
    """The file (mode 0600) has that keyring, whole and synced, in place of whatever it had."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    _write_new(draft, keyring.format())
    draft.replace(file)
    _sync_folder(file.parent)


def _write_new(file: Path, text: str) -> None:
    """The file has the text, whole and synced, unless there was one before (FileExistsError)."""
    if file.exists():
        raise FileExistsError(file)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as handle:
            handle.write(text + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        os.link(draft, file)  # fails, instead of replacing, if somebody was faster
        _sync_folder(file.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _bound_to(key_id: str, purpose: str) -> bytes:
    return f"overworld save password, version 1\0{key_id}\0{purpose}".encode()
