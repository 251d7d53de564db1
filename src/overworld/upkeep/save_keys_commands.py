"""``overworld save-keys``: the keys that lock the passwords of saves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from overworld.commands import read_settings, with_postgres
from overworld.upkeep.asking import note

if TYPE_CHECKING:
    from overworld.settings import Settings
    from overworld.store.database import Database


@click.group("save-keys")
def save_keys() -> None:
    """Look after the keys that lock the passwords of saves."""


@save_keys.command("status")
def status() -> None:
    """List the keys, and how many passwords each locks; the first is in use.

    One that locks nothing can be taken away. The keys themselves are not shown.
    """
    settings = read_settings(quiet=True)

    def look() -> None:
        from overworld import worker_wiring
        from overworld.upkeep.save_keys import count_locked

        database = _open(settings)
        try:
            locked = count_locked(database)
        finally:
            database.close()
        ids = [key.key_id for key in worker_wiring.save_keyring(settings).keys]
        for number, key_id in enumerate(ids):
            click.echo(f"{key_id}  {locked[key_id]} passwords{'  in use' if number == 0 else ''}")
        for key_id in sorted(set(locked) - set(ids)):
            click.echo(f"{key_id}  {locked[key_id]} passwords  MISSING: these saves cannot be read")

    with_postgres(settings, look)


@save_keys.command("rotate")
def rotate() -> None:
    """Lock every password of saves by a new key, and take the old keys away.

    Overworld must not run; games may. No repository is touched. Where the keys are in OVERWORLD_SAVE_KEYS, the value to
    set is printed instead: restart Overworld with it, and take the old keys out when `overworld save-keys status` says
    that they lock nothing.
    """
    settings = read_settings(quiet=True)
    from overworld import worker_wiring
    from overworld.upkeep.save_keys import rotate_file, with_new_key

    key_id = f"{datetime.now(UTC):k%Y%m%d%H%M%S}"
    if settings.save_keys is not None:
        note("Set OVERWORLD_SAVE_KEYS to this and restart Overworld; its worker locks every password by the new key:")
        click.echo(with_new_key(worker_wiring.save_keyring(settings), key_id).format())
        return

    def work() -> None:
        database = _open(settings)
        try:
            count = rotate_file(
                database, worker_wiring.save_location(settings), settings.data_folder / "save-keys", key_id
            )
        finally:
            database.close()
        click.echo(f"{count} passwords are locked by the new key {key_id}; the old keys are gone from the data folder.")

    with_postgres(settings, work, alone=True)  # one that runs has the old keys in memory


def _open(settings: Settings) -> Database:
    from overworld import wiring
    from overworld.store import schema

    schema.upgrade(wiring.database_url(settings))
    return wiring.open_database(settings, "save-keys")
