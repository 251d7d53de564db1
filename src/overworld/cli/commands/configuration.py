"""Revisions of a server's configuration: what it was, who changed it, and going back."""

from __future__ import annotations

import click

from overworld.cli.api import Json, api_path
from overworld.cli.lookup import SERVER, find_server
from overworld.cli.safe_text import keep_colours
from overworld.cli.session import Session, confirm, output_option, pass_session
from overworld.cli.times import show_time
from overworld.cli.ui import Column, print_heading, print_json, print_line, print_note, print_pairs, print_table

UNSHOWN = "(secret)"
NOBODY = "(not known)"
REVISION = click.IntRange(1, 999_999_999)


@click.group()
def config() -> None:
    """Look through the revisions of a server's configuration.

    Every change of name, memory, disk or variables is one, and every edit of a text file of its world. SERVER is a name
    or an id; a REVISION that is left out is the newest.
    """


@config.command("list")
@click.argument("server", type=SERVER)
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@output_option
@pass_session
def list_revisions(session: Session, server: str, limit: int) -> None:
    """List who changed what, newest first."""
    found = list(session.api.pages(_path(_server_id(session, server)), limit=limit))
    if session.as_json:
        print_json({"items": found, "next_page_token": None})
        return
    print_table(
        [Column("REVISION", right=True), Column("AT"), Column("BY"), Column("CHANGED", wrap=True)],
        [[each["revision"], show_time(each["at"]), each["by"] or NOBODY, _what(each)] for each in found],
        empty="No revisions.",
    )


@config.command()
@click.argument("server", type=SERVER)
@click.argument("revision", type=REVISION, required=False)
@output_option
@pass_session
def show(session: Session, server: str, revision: int | None) -> None:
    """Show all settings of a revision, or the text of the file that it is about."""
    found = _find(session, server, revision)
    if session.as_json:
        print_json(found)
        return
    if found["path"] is not None:
        print_note(_title(found))
        _print_text(found["text"])
        return
    print_heading(_title(found))
    print_pairs({name: UNSHOWN if value is None else value for name, value in found["settings"].items()})


@config.command()
@click.argument("server", type=SERVER)
@click.argument("revision", type=REVISION, required=False)
@output_option
@pass_session
def diff(session: Session, server: str, revision: int | None) -> None:
    """Show how a revision differs from the one before."""
    found = _find(session, server, revision)
    if session.as_json:
        print_json(found)
        return
    first = "It is the first." if found["previous"] is None else None
    if found["path"] is not None:
        print_note(_title(found))
        _print_text((first or "It is too long to be compared.") if found["diff"] is None else found["diff"])
        return
    print_heading(_title(found))
    print_table(
        [Column("SETTING"), Column("BEFORE", wrap=True), Column("AFTER", wrap=True)],
        [
            [each["name"], *(UNSHOWN if each["secret"] else each[side] for side in ("before", "after"))]
            for each in found["changes"]
        ],
        empty=first or "Nothing.",
    )


@config.command()
@click.argument("server", type=SERVER)
@click.argument("revision", type=REVISION)
@click.option("--unsaved", is_flag=True, help="Write a file at once, though something in the world may not be saved.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option
@pass_session
def restore(session: Session, *, server: str, revision: int, unsaved: bool, yes: bool) -> None:
    """Bring the configuration of a revision back, as a new one.

    Of a file's revision, that file is written as it was then. A running server goes on as it is until it is restarted.
    A disk never shrinks.
    """
    server_id = _server_id(session, server)
    confirm(f"Bring revision {revision} of the configuration of {server!r} back?", yes)
    newest = _newest(session, server_id)
    path = _path(server_id, str(revision), "restore") + ("?unsaved=true" if unsaved else "")
    made = session.api.post(path).document
    if session.as_json:
        print_json(made)
        return
    if made["revision"] <= newest:
        print_line(f"Nothing differs from revision {revision}.")
        return
    print_line(f"Revision {made['revision']} is what revision {revision} was: {', '.join(made['changed'])}.")
    print_note(f"What runs keeps its old settings until `overworld restart {server_id}`.")


def _server_id(session: Session, server: str) -> str:
    return str(find_server(session.api, server)["id"])


def _path(server_id: str, *what: str) -> str:
    return api_path("servers", server_id, "config", "revisions", *what)


def _find(session: Session, server: str, revision: int | None) -> Json:
    server_id = _server_id(session, server)
    return session.api.get(_path(server_id, str(revision or _newest(session, server_id))))


def _newest(session: Session, server_id: str) -> int:
    (newest,) = session.api.pages(_path(server_id), limit=1)
    return int(newest["revision"])


def _print_text(text: str) -> None:
    for line in text.splitlines():
        click.echo(keep_colours(line))


def _title(found: Json) -> str:
    about = "" if found["path"] is None else f" of {found['path']}"
    return f"Revision {found['revision']}{about}, {show_time(found['at'])} UTC, by {found['by'] or NOBODY}"


def _what(found: Json) -> str:
    changed = ", ".join(found["changed"]) or "the first"
    return changed if found["restored_from"] is None else f"{changed} (back to {found['restored_from']})"
