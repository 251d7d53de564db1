"""The files of a save, from the command line: looked through, and taken out."""

from __future__ import annotations

from pathlib import Path

import click

from overworld.cli.api import Json, api_path
from overworld.cli.errors import NotFound
from overworld.cli.files import fetch_entry, print_entries
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.ui import print_json, print_line


@click.command("files")
@click.argument("save_id", metavar="SAVE")
@click.argument("path", default="")
@output_option
@pass_session
def list_saved_files(session: Session, save_id: str, path: str) -> None:
    """List a folder of a save, as a restore would make it. SAVE is an id; PATH begins at the top of the world."""
    found = _list(session, save_id, path)
    if session.as_json:
        print_json({"items": found})
    else:
        print_entries(found)


@click.command("get")
@click.argument("save_id", metavar="SAVE")
@click.argument("path", default="")
@click.argument("local", type=click.Path(path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@pass_session
def get_saved_file(session: Session, save_id: str, path: str, local: Path | None, force: bool) -> None:
    """Download a file of a save, or a folder as an archive.

    SAVE is an id; PATH begins at the top of the world, left out: all of it. LOCAL is the file or folder here that it
    goes to (left out: this folder). For a folder it ends with .zip or .tar, and is NAME.zip if left out.
    """
    where = api_path("saves", save_id, "content")
    target, count = fetch_entry(session.api, where, path, _find(session, save_id, path), local, force=force)
    print_line(f"{target} has {count} bytes.")


def _find(session: Session, save_id: str, path: str) -> Json:
    wanted = path.strip("/")
    if not wanted:
        return {"name": save_id, "type": "folder"}
    for entry in _list(session, save_id, wanted.rpartition("/")[0]):
        if entry["path"] == wanted:
            return entry
    raise NotFound(f"There is no {wanted} in the save", mend=f"`overworld saves files {save_id}` shows what is in it.")


def _list(session: Session, save_id: str, path: str) -> list[Json]:
    found: list[Json] = session.api.get(api_path("saves", save_id, "files"), {"path": path})["items"]
    return found
