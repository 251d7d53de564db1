"""Changing the keys that lock the passwords of saves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from overworld.saves.locations import StoreLocation
from overworld.saves.secrets import Keyring, load_or_make_keyring, new_key, write_keyring
from overworld.store import save_keys
from overworld.store.database import Database
from overworld.worker.repositories import Repositories


def with_new_key(keyring: Keyring, key_id: str) -> Keyring:
    """A new key before the ones that there are. Raises BadInput for an id that there is."""
    return Keyring((new_key(key_id), *keyring.keys))


def rotate_file(database: Database, location: StoreLocation, file: Path, key_id: str) -> int:
    """Every password is locked by a new key, and that is the only one in the file; how many passwords. Nothing else may
    work with the file meanwhile. Killed anywhere it has lost nothing, and can be repeated with another id: the file has
    the new key before anything is locked by it, and the old ones until nothing is locked by them.
    """
    keyring = with_new_key(load_or_make_keyring(file), key_id)
    write_keyring(file, keyring)
    changed = 0
    while count := _rewrap(database, Repositories(database, location, keyring)):
        changed += count
    write_keyring(file, Keyring(keyring.keys[:1]))
    return changed


def count_locked(database: Database) -> Counter[str]:
    """How many passwords each key locks."""
    with database.transaction() as tx:
        return Counter(save_keys.locked_by(tx))


def _rewrap(database: Database, repositories: Repositories) -> int:
    with database.transaction() as tx:
        return repositories.rewrap(tx, limit=100)
