"""Saves of worlds: taken, listed, restored, cloned, proven, kept and let go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import click

from overworld.cli.api import Json, api_path
from overworld.cli.commands.saved_files import get_saved_file, list_saved_files
from overworld.cli.errors import BadUsage, NotFound
from overworld.cli.files import send
from overworld.cli.lookup import SERVER, find_server
from overworld.cli.session import Session, confirm, output_option, pass_session
from overworld.cli.times import show_age, show_time
from overworld.cli.ui import Column, print_json, print_line, print_note, print_pairs, print_table
from overworld.cli.waiting import follow_operation, require_success, wait_options

MIB = 1024 * 1024
POLICY = (
    "cron",
    "time_zone",
    "keep_last",
    "keep_hourly",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "quota_mib",
    "drill",
)


@click.command()
@click.argument("server", type=SERVER)
@click.option("--label", default="", help="What it is for, in your words.")
@click.option("--pin", is_flag=True, help="Keep it until the pin is taken off, whatever the policy says.")
@wait_options
@output_option
@pass_session
def save(session: Session, *, server: str, label: str, pin: bool, wait: bool, timeout: timedelta | None) -> None:
    """Save a server's world.

    A running game is made to hold still for a moment; nobody is thrown out. SERVER is a name or an id.
    """
    found = find_server(session.api, server)
    asked = session.api.post(api_path("servers", found["id"], "saves"), {"label": label, "pinned": pin})
    _follow(session, asked.document, wait, timeout)


@click.command()
@click.argument("server", type=SERVER)
@click.argument("save_id", metavar="[SAVE]", required=False)
@click.option("--path", "paths", multiple=True, help="Only this file or folder of the world; may be repeated.")
@click.option("--undo", is_flag=True, help="Go back to the world before the last restore instead.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@wait_options
@output_option
@pass_session
def restore(
    session: Session,
    *,
    server: str,
    save_id: str | None,
    paths: tuple[str, ...],
    undo: bool,
    yes: bool,
    wait: bool,
    timeout: timedelta | None,
) -> None:
    """Restore a save into its server, or undo that.

    The present world is saved first and kept for undo. SERVER is a name or an id; SAVE is an id that `overworld saves
    list` shows, or `latest`.
    """
    if undo == (save_id is not None) or (undo and paths):
        raise BadUsage("Either a save or --undo", "Say which save to restore, or --undo alone.")
    found = find_server(session.api, server)
    if undo:
        question = f"Put {found['name']!r} back on the world before its last restore?"
        path, body = api_path("servers", found["id"], "undo-restore"), None
    else:
        wanted = _find_save(session, found, str(save_id))
        what = ", ".join(paths) if paths else "the whole world"
        still = wanted["quiet"] or wanted["state"]
        which = f"{what} of {show_time(wanted['created_at'])} UTC ({wanted['reason']}, {still})"
        if yes and not session.as_json:
            print_note(f"Restoring {which} into {found['name']!r}.")
        question = f"Restore {which} into {found['name']!r}?"
        path, body = api_path("servers", found["id"], "restore"), {"save_id": wanted["id"], "paths": list(paths)}
    confirm(question, yes)
    _follow(session, session.api.post(path, body).document, wait, timeout)


@click.command()
@click.argument("save_id", metavar="SAVE")
@click.argument("name")
@click.option("--start", is_flag=True, help="Start it at the end.")
@wait_options
@output_option
@pass_session
def clone(session: Session, *, save_id: str, name: str, start: bool, wait: bool, timeout: timedelta | None) -> None:
    """Make a new server of a save.

    It has the save's world, game and variables, and an address of its own. SAVE is an id, NAME the new server's name.
    """
    asked = session.api.post(api_path("saves", save_id, "clone"), {"name": name, "start": start})
    _follow(session, asked.document, wait, timeout)


@click.group()
def saves() -> None:
    """Look after saves."""


saves.add_command(list_saved_files)
saves.add_command(get_saved_file)


@saves.command("list")
@click.argument("server", type=SERVER, required=False)
@click.option("--gone", is_flag=True, help="Those that were removed from the store, instead.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@output_option
@pass_session
def list_saves(session: Session, server: str | None, gone: bool, limit: int) -> None:
    """List saves, newest first. SERVER is a name or an id; left out: of all servers, also of those that are gone."""
    params: dict[str, str] = {"gone": "true"} if gone else {}
    if server is None:
        found = list(session.api.pages(api_path("saves"), params, limit=limit))
    else:
        found = _saves_of(session, server, params, limit)
    if session.as_json:
        print_json({"items": found, "next_page_token": None})
        return
    now = datetime.now(UTC)
    print_table(
        [
            Column("SAVE"),
            Column("SERVER", drop=1 if server is None else 9, wrap=True),
            Column("TAKEN"),
            Column("STATE", drop=3, coloured=True),
            Column("WHY", drop=6),
            Column("STILL", drop=2),
            Column("MIB", drop=8),
            Column("NEW MIB", drop=9),
            Column("PROVEN", drop=4),
            Column("PIN", drop=7),
            Column("LABEL", drop=5, wrap=True),
        ],
        [
            [
                each["id"],
                each["server_name"],
                show_time(each["created_at"]),
                each["state"],
                each["reason"],
                each["quiet"],
                _mib(each["bytes_total"]),
                _mib(each["bytes_new"]),
                f"{show_age(each['proven_at'], now)} ago" if each["proven_at"] else None,
                "pinned" if each["pinned"] else None,
                each["error"] or each["label"],
            ]
            for each in found
        ],
        empty="No saves.",
    )


@saves.command("upload")
@click.argument("server", type=SERVER)
@click.argument("archive", type=click.File("rb"))
@click.option("--label", default="", help="What it is, in your words.")
@click.option("--pin", is_flag=True, help="Keep it until the pin is taken off, whatever the policy says.")
@wait_options
@output_option
@pass_session
def upload_save(
    session: Session,
    *,
    server: str,
    archive: BinaryIO,
    label: str,
    pin: bool,
    wait: bool,
    timeout: timedelta | None,
) -> None:
    """Make a save of a world that you have as a zip or tar.

    ARCHIVE is a file here, or - for standard input: .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz. The world is found in it
    wherever it lies. Nothing of the server changes: restore or clone the save. SERVER is a name or an id.
    """
    found = find_server(session.api, server)
    params = {"label": label, "pinned": "true" if pin else "false"}
    path = api_path("servers", found["id"], "saves", "upload")
    _follow(session, send(session.api, path, params, archive, method="POST"), wait, timeout)


@saves.command("edit")
@click.argument("save_id", metavar="SAVE")
@click.option("--label", help="What it is for, in your words.")
@click.option("--pin/--no-pin", "pinned", default=None, help="Whether retention must never remove it.")
@output_option
@pass_session
def edit_save(session: Session, save_id: str, label: str | None, pinned: bool | None) -> None:
    """Label a save, pin it or take the pin off. SAVE is an id."""
    if label is None and pinned is None:
        raise BadUsage("Nothing to change", "Say --label, --pin or --no-pin.")
    changed = session.api.patch(api_path("saves", save_id), {"label": label, "pinned": pinned})
    if session.as_json:
        print_json(changed)
    else:
        labelled = f"labelled {changed['label']!r}" if changed["label"] else "without a label"
        print_line(f"{save_id} is {'pinned' if changed['pinned'] else 'not pinned'} and {labelled}.")


@saves.command("remove")
@click.argument("save_id", metavar="SAVE")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@wait_options
@output_option
@pass_session
def remove_save(session: Session, save_id: str, yes: bool, wait: bool, timeout: timedelta | None) -> None:
    """Remove a save from the store, for good. SAVE is an id."""
    confirm(f"Remove the save {save_id} for good?", yes)
    _follow(session, session.api.delete(api_path("saves", save_id)).document, wait, timeout)


@saves.command("prove")
@click.argument("server", type=SERVER)
@click.argument("save_id", metavar="[SAVE]", required=False)
@wait_options
@output_option
@pass_session
def prove_save(session: Session, server: str, save_id: str | None, wait: bool, timeout: timedelta | None) -> None:
    """Restore a save to scratch and compare it.

    SERVER is a name or an id; SAVE is an id, left out: the newest. A SAVE alone does too.
    """
    try:
        server_id = find_server(session.api, server)["id"]
    except NotFound as error:
        if save_id is not None:
            raise
        server_id, save_id = _find_server_of(session, server, error), server
    asked = session.api.post(api_path("servers", server_id, "prove"), {"save_id": save_id})
    _follow(session, asked.document, wait, timeout)


@saves.command("check")
@click.argument("server", type=SERVER)
@wait_options
@output_option
@pass_session
def check_saves(session: Session, server: str, wait: bool, timeout: timedelta | None) -> None:
    """Look through all that the store holds of a server. SERVER is a name or an id."""
    found = find_server(session.api, server)
    _follow(session, session.api.post(api_path("servers", found["id"], "check-saves")).document, wait, timeout)


@saves.command("policy")
@click.argument("server", type=SERVER)
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Change it; an empty VALUE: as installed.")
@output_option
@pass_session
def policy(session: Session, server: str, given: tuple[str, ...]) -> None:
    """Show or change when a server is saved and how many saves are kept.

    NAMEs are cron, time_zone, keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, quota_mib and drill; the
    cron `never` means on no schedule. SERVER is a name or an id.
    """
    changes = dict(_read_change(each) for each in given)
    path = api_path("servers", find_server(session.api, server)["id"], "save-policy")
    found = session.api.patch(path, changes) if changes else session.api.get(path)
    if session.as_json:
        print_json(found)
        return
    installed = found.get("installed") or {}
    shown = {name: _show_rule(value, installed.get(name)) for name, value in found.items() if name in POLICY}
    print_pairs({**shown, "next save": show_time(found["next_at"]) if found["next_at"] else "never"})


def _show_rule(value: object, installed: object) -> str:
    shown, where = (installed, " (as installed)") if value is None else (value, "")
    if shown is None:
        return f"no bound{where}"
    if isinstance(shown, bool):
        return f"{'yes' if shown else 'no'}{where}"
    return f"{'never' if shown == '' else shown}{where}"


def _read_change(text: str) -> tuple[str, str | int | bool | None]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise BadUsage("A change is NAME=VALUE", f"{text!r} has no =.")
    if name not in POLICY:
        raise BadUsage(f"A policy has no {name}", f"It has {', '.join(POLICY)}.")
    if value == "":
        return name, None
    if name == "cron":
        return name, "" if value == "never" else value
    if value in {"true", "yes", "false", "no"}:
        return name, value in {"true", "yes"}
    return name, int(value) if value.removeprefix("-").isdecimal() else value


def _find_save(session: Session, server: Json, wanted: str) -> Json:
    if wanted != "latest":
        return session.api.get(api_path("saves", wanted))
    for each in session.api.pages(api_path("servers", server["id"], "saves")):
        if each["state"] == "kept":
            return each
    raise NotFound("There is no save to restore", f"{server['name']} has none yet: `overworld save {server['id']}`.")


def _saves_of(session: Session, server: str, params: Mapping[str, str], limit: int) -> list[Json]:
    """The saves of a server, also of one that is gone: by its id, or by the name that it had then."""
    path = api_path("saves")
    try:
        wanted = find_server(session.api, server)["id"]
    except NotFound:
        named = [each for each in session.api.pages(path, params) if server in {each["server_name"], each["server_id"]}]
        if not named:
            raise
        return named[:limit]
    return list(session.api.pages(path, {**params, "server": wanted}, limit=limit))


def _find_server_of(session: Session, save_id: str, no_server: NotFound) -> str:
    try:
        return str(session.api.get(api_path("saves", save_id))["server_id"])
    except NotFound:
        raise no_server from None


def _follow(session: Session, operation: Json, wait: bool, timeout: timedelta | None) -> None:
    if wait:
        operation = follow_operation(session, operation["id"], timeout)
    if session.as_json:
        print_json(operation)
    if wait:
        require_success(operation)
    if session.as_json:
        return
    if operation["outcome"] == "running":
        print_note(f"Accepted. Follow it with `overworld wait --operation {operation['id']}`.")
    else:
        print_line(operation["message"])


def _mib(size: int | None) -> str | None:
    return None if size is None else f"{size / MIB:.1f}"
