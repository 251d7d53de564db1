"""The files of a server's world, from the command line."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

import click

from overworld.cli.api import Json, api_path, read_document
from overworld.cli.errors import BadUsage, CliError, NotFound
from overworld.cli.files import fetch, fetch_entry, print_entries, send
from overworld.cli.lookup import SERVER, find_server
from overworld.cli.safe_text import keep_colours
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.ui import print_json, print_line, print_note

RUNS = "The game runs: it may have read the file already, or write over it."


@click.group()
def files() -> None:
    """Look after the files of a server's world.

    SERVER is a name or an id. PATH begins at the top of the world. Links are shown and never followed.
    """


unsaved_option = click.option(
    "--unsaved", is_flag=True, help="Do it at once, though something in the world may not be saved."
)


def _path(session: Session, server: str, *what: str) -> str:
    return api_path("servers", find_server(session.api, server)["id"], "files", *what)


@files.command("ls")
@click.argument("server", type=SERVER)
@click.argument("path", default="")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Most entries.")
@output_option
@pass_session
def list_files(session: Session, server: str, path: str, limit: int) -> None:
    """List a folder."""
    found = list(session.api.pages(_path(session, server), {"path": path}, limit=limit))
    if session.as_json:
        print_json({"items": found})
        return
    print_entries(found)
    if len(found) == limit:
        print_note("There may be more: --limit shows them.")


@files.command()
@click.argument("server", type=SERVER)
@click.argument("path")
@pass_session
def cat(session: Session, server: str, path: str) -> None:
    """Print a file. On a terminal, without what a terminal would act upon; in a pipe, byte by byte."""
    pieces = fetch(session.api, _path(session, server, "content"), {"path": path})
    if not sys.stdout.isatty():
        for data in pieces:
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    text = session.api.get(_path(session, server, "text"), {"path": path})["text"]
    for line in text.splitlines():
        click.echo(keep_colours(line))


@files.command()
@click.argument("server", type=SERVER)
@click.argument("path")
@unsaved_option
@pass_session
def edit(session: Session, server: str, path: str, unsaved: bool) -> None:
    """Edit a text file (4 MiB at most) in the editor that EDITOR names.

    It is written only if nobody else has changed it meanwhile. What you wrote is then kept in a file here.
    """
    where = _path(session, server, "text")
    version: dict[str, str] = {"If-None-Match": "*"}
    try:
        answer = session.api.request("GET", where, params={"path": path})
        before = str(read_document(answer, session.api.target)["text"])
        version = {"If-Match": answer.headers["ETag"]}
    except NotFound:
        print_note("A new file.")
        before = ""
    after = click.edit(before, extension=Path(path).suffix or ".txt", require_save=True)
    if after is None or after == before:
        print_note("Nothing was changed.")
        return
    try:
        changed = send(session.api, where, {"path": path, "unsaved": _flag(unsaved)}, after.encode(), version)
    except CliError:
        print_note(f"What you wrote is in {_keep(path, after)}.")
        raise
    _say(session, changed, "is written")


def _keep(path: str, text: str) -> Path:
    """The text in a new file of this machine, so that an edit is never lost."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", path.rpartition("/")[2])[:60] or "edit"
    kept = Path(tempfile.mkdtemp(prefix="overworld-edit-")) / name
    kept.write_text(text)
    return kept


@files.command()
@click.argument("server", type=SERVER)
@click.argument("local", type=click.File("rb"))
@click.argument("path")
@click.option("--new", is_flag=True, help="Only if there is no file of that name.")
@unsaved_option
@output_option
@pass_session
def put(session: Session, *, server: str, local: BinaryIO, path: str, new: bool, unsaved: bool) -> None:
    """Upload a file.

    LOCAL is a file here, or - for standard input. A PATH that ends with / is the folder that it goes to. It takes the
    place of a file of that name; one that breaks off leaves what was there.
    """
    if path.endswith("/") or not path:
        if local.name in {"-", "<stdin>"}:
            raise BadUsage("What is it to be called?", "PATH has to name a file where standard input is uploaded.")
        path += Path(local.name).name
    headers = {"If-None-Match": "*"} if new else {}
    params = {"path": path, "unsaved": _flag(unsaved)}
    where = _path(session, server, "content")
    try:
        changed = send(session.api, where, params, local, headers)
    except NotFound as error:
        error.mend = "Make the folder first: `overworld files mkdir`."
        raise
    _say(session, changed, "is uploaded")


@files.command()
@click.argument("server", type=SERVER)
@click.argument("path")
@click.argument("local", type=click.Path(path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@pass_session
def get(session: Session, server: str, path: str, local: Path | None, force: bool) -> None:
    """Download a file, or a folder as an archive.

    LOCAL is the file or folder here that it goes to (left out: this folder). For a folder it ends with .zip or .tar,
    and is NAME.zip if left out.
    """
    entry = session.api.get(_path(session, server, "entry"), {"path": path})
    target, count = fetch_entry(session.api, _path(session, server, "content"), path, entry, local, force=force)
    print_line(f"{target} has {count} bytes.")


@files.command()
@click.argument("server", type=SERVER)
@click.argument("path")
@click.option("-r", "--recursive", is_flag=True, help="A folder with all that is in it.")
@unsaved_option
@pass_session
def rm(session: Session, server: str, path: str, recursive: bool, unsaved: bool) -> None:
    """Delete a file, a link or a folder."""
    params = {"path": path, "recursive": _flag(recursive), "unsaved": _flag(unsaved)}
    session.api.delete(_path(session, server), params)
    print_line(f"{path} is deleted.")


@files.command()
@click.argument("server", type=SERVER)
@click.argument("path")
@click.argument("to")
@click.option("--replace", is_flag=True, help="Take the place of a file that is there.")
@unsaved_option
@output_option
@pass_session
def mv(session: Session, *, server: str, path: str, to: str, replace: bool, unsaved: bool) -> None:
    """Rename or move a file, a link or a folder."""
    body = {"path": path, "to": to, "replace": replace, "unsaved": unsaved}
    _say(session, session.api.post(_path(session, server, "rename"), body).document, "is there now")


@files.command()
@click.argument("server", type=SERVER)
@click.argument("path")
@output_option
@pass_session
def mkdir(session: Session, server: str, path: str) -> None:
    """Make a folder."""
    _say(session, session.api.post(_path(session, server, "folders"), {"path": path}).document, "is made")


def _flag(given: bool) -> str:
    return "true" if given else "false"


def _say(session: Session, changed: Json, what: str) -> None:
    if session.as_json:
        print_json(changed)
        return
    print_line(f"{changed['path']} {what}.")
    if changed["running"]:
        print_note(RUNS)
