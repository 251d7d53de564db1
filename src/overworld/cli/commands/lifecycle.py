"""Start, stop, restart, delete, undelete: a wish is handed over, then its operation is followed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from overworld.cli.api import Json, api_path
from overworld.cli.commands.servers import print_connection
from overworld.cli.errors import NotFound
from overworld.cli.lookup import SERVER, find_server
from overworld.cli.session import Session, confirm, output_option, pass_session
from overworld.cli.times import DURATION, read_time, show_time
from overworld.cli.ui import print_json, print_line
from overworld.cli.waiting import follow_operation, require_success, wait_options


@click.command()
@click.argument("server", type=SERVER)
@wait_options
@output_option
@pass_session
def start(session: Session, server: str, wait: bool, timeout: timedelta | None) -> None:
    """Start a server.

    Waits until players can join. SERVER is a name or an id.
    """
    _ask(session, find_server(session.api, server), "start", wait, timeout)


@click.command()
@click.argument("server", type=SERVER)
@wait_options
@output_option
@pass_session
def stop(session: Session, server: str, wait: bool, timeout: timedelta | None) -> None:
    """Stop a server, its world saved.

    The game is asked to save and quit; the answer says whether the save was seen. SERVER is a name or an id.
    """
    _ask(session, find_server(session.api, server), "stop", wait, timeout)


@click.command()
@click.argument("server", type=SERVER)
@wait_options
@output_option
@pass_session
def restart(session: Session, server: str, wait: bool, timeout: timedelta | None) -> None:
    """Stop a server and start it again.

    Changed settings take effect. SERVER is a name or an id.
    """
    _ask(session, find_server(session.api, server), "restart", wait, timeout)


@click.command()
@click.argument("server", type=SERVER)
@click.option("--retention", type=DURATION, help="How long it can be undeleted, for example 7d; 0 removes it at once.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@wait_options
@output_option
@pass_session
def delete(
    session: Session, *, server: str, retention: timedelta | None, yes: bool, wait: bool, timeout: timedelta | None
) -> None:
    """Delete a server; its world is kept until retention has passed.

    Until then `overworld undelete` brings it back. SERVER is a name or an id.
    """
    found = find_server(session.api, server)
    confirm(f"Delete {found['name']!r} ({found['game']}, {found['id']})?", yes)
    params = {} if retention is None else {"retention_seconds": int(retention.total_seconds())}
    answer = session.api.delete(api_path("servers", found["id"]), params)
    _follow(session, found, answer.document, wait, timeout)


@click.command()
@click.argument("server", type=SERVER)
@wait_options
@output_option
@pass_session
def undelete(session: Session, server: str, wait: bool, timeout: timedelta | None) -> None:
    """Take a deletion back.

    The server and its world are as before; it is not running. SERVER is a name or an id.
    """
    _ask(session, find_server(session.api, server), "undelete", wait, timeout)


def _ask(session: Session, server: Json, verb: str, wait: bool, timeout: timedelta | None) -> None:
    answer = session.api.post(api_path("servers", server["id"], verb))
    _follow(session, server, answer.document, wait, timeout)


def _follow(session: Session, server: Json, operation: Json, wait: bool, timeout: timedelta | None) -> None:
    if wait:
        operation = follow_operation(session, operation["id"], timeout)
    if session.as_json:
        print_json(operation)
    if wait:
        require_success(operation)
    if not session.as_json:
        _say(session, server, operation)


def _say(session: Session, server: Json, operation: Json) -> None:
    if operation["outcome"] == "running":
        print_line(f"Accepted. Follow it with `overworld wait --operation {operation['id']}`.")
    elif operation["kind"] in {"start", "restart"}:
        print_connection(session.api.get(api_path("servers", server["id"])))
    elif operation["kind"] == "delete":
        _say_deleted(session, server)
    else:
        print_line(f"{server['name']}: {operation['kind']} succeeded. {operation['message']}")


def _say_deleted(session: Session, server: Json) -> None:
    try:
        purge_at = session.api.get(api_path("servers", server["id"]))["purge_at"]
    except NotFound:
        purge_at = None
    until = read_time(purge_at)
    if until is None or until <= datetime.now(UTC):  # no retention: it is gone already, or about to be
        print_line(f"{server['name']} is deleted for good.")
        return
    way_back = f"Until {show_time(purge_at)} UTC `overworld undelete {server['id']}` brings it back."
    print_line(f"{server['name']} is deleted. {way_back}")
