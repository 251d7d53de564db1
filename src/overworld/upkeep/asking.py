"""Secrets and words that only a person can give; never on a command line, where others can see them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click


def ask_secret(what: str) -> str:
    """What was typed unseen, or the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()


def confirm(question: str, *, yes: bool) -> None:
    """Goes on if it was said already, or is said now; ends the program if not."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody is there to be asked: add --yes if it is so.")
    if not click.confirm(question, err=True):
        click.echo("Nothing was done.", err=True)
        raise click.exceptions.Exit(1)


class Moment(click.ParamType[datetime]):
    """A time as ISO 8601 has it; without a zone it is UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time, with its zone."""
        try:
            time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            raise click.BadParameter(f"{value!r} is no time: write 2026-05-31T12:00:00Z.", ctx, param) from None
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def note(text: str) -> None:
    """For people: beside the answer, which alone goes to standard output."""
    click.echo(text, err=True)
