"""``overworld b2``: a bucket of Backblaze B2 whose history a thief cannot destroy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click

from overworld.upkeep.asking import Moment, ask_secret, confirm, note

if TYPE_CHECKING:
    from overworld.saves.b2 import Account, StoreKey

PREFIX = click.option("--prefix", default="overworld", show_default=True, metavar="FOLDER", help="Where in the bucket.")
HISTORY = click.option(
    "--history-days",
    type=click.IntRange(1, 3650),
    default=30,
    show_default=True,
    metavar="N",
    help="How long what was deleted or overwritten can be brought back.",
)


@click.group()
def b2() -> None:
    """Set up a bucket of Backblaze B2 for saves, and mend it after a theft.

    Each command asks for the account's master key (its id, then the key), or reads the two lines from standard input.
    It is used for this one command and kept nowhere.
    """


@b2.command("setup")
@click.argument("bucket")
@PREFIX
@HISTORY
def setup(bucket: str, prefix: str, history_days: int) -> None:
    """Make a bucket whose history cannot be destroyed, and a key for Overworld that can do no more than it must.

    A bucket that is there is changed only where it has to be. Prints the settings to give to Overworld on standard
    output: they have the key, which Backblaze shows this once.
    """
    with _signed_in() as api:
        from overworld.saves.b2 import make_key, prepare_bucket

        changed = prepare_bucket(api, bucket, history_days=history_days)
        state = "is set up" if changed else "was set up already"
        note(f"The bucket {bucket} {state}: private; what is deleted or overwritten is kept for {history_days} days.")
        _show_settings(api, bucket, prefix, make_key(api, bucket, prefix=prefix))


@b2.command("key")
@click.argument("bucket")
@PREFIX
def key(bucket: str, prefix: str) -> None:
    """Make another key for Overworld, and print the settings to give to it.

    The keys before it go on working: take them away with `overworld b2 revoke` once Overworld has this one.
    """
    with _signed_in() as api:
        from overworld.saves.b2 import make_key

        _show_settings(api, bucket, prefix, make_key(api, bucket, prefix=prefix))


@b2.command("revoke")
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Take a key away, at once and for good: one that was stolen, or one that was replaced."""
    with _signed_in() as api:
        from overworld.saves.b2 import delete_key

        delete_key(api, key_id)
        click.echo(f"The key {key_id} opens nothing any more.")


@b2.command("bring-back")
@click.argument("bucket")
@PREFIX
@click.option("--to", "moment", type=Moment(), required=True, metavar="TIME", help="The moment before the theft.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def bring_back(bucket: str, prefix: str, moment: datetime, yes: bool) -> None:
    """Make all saves again what they were at a moment, after somebody hid, overwrote or added files.

    Revoke the stolen key first, and stop Overworld. Saves that were taken after that moment are gone for good. Can be
    interrupted and run again.
    """
    confirm(f"Is Overworld stopped, and are saves from after {moment:%Y-%m-%d %H:%M:%S %Z} to go?", yes=yes)
    with _signed_in() as api:
        from overworld.saves import b2 as service

        count = service.bring_back(api, bucket, prefix=f"{prefix.strip('/')}/" if prefix else "", moment=moment)
        click.echo(f"{count} files are again what they were at {moment:%Y-%m-%d %H:%M:%S %Z}.")


@contextmanager
def _signed_in() -> Iterator[Account]:
    """The account, by its master key; errors become one line each."""
    from overworld.domain.errors import OverworldError
    from overworld.saves import b2 as service

    try:
        key_id = ask_secret("Master key id")
        yield service.sign_in(key_id, ask_secret("Master key"))
    except ModuleNotFoundError as error:
        raise click.ClickException("B2's library is not installed: pip install 'overworld[b2]'.") from error
    except OverworldError as error:
        raise click.ClickException(error.detail) from error


def _show_settings(api: Account, bucket: str, prefix: str, made: StoreKey) -> None:
    from overworld.saves.b2 import s3_host

    place = "/".join(part for part in (s3_host(api), bucket, prefix.strip("/")) if part)
    note("A key for Overworld was made: it lists, reads and writes below that folder, and destroys nothing. Set:")
    click.echo(f"OVERWORLD_SAVE_STORE=s3:{place}")
    click.echo(f"OVERWORLD_SAVE_STORE_KEY_ID={made.key_id}")
    click.echo(f"OVERWORLD_SAVE_STORE_KEY={made.secret}")
