"""Waiting for what was asked for elsewhere, or earlier."""

from __future__ import annotations

from datetime import timedelta

import click

from overworld.cli.api import Json, api_path
from overworld.cli.commands.servers import STATES, print_connection
from overworld.cli.errors import BadUsage
from overworld.cli.lookup import SERVER, find_server
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.times import DURATION
from overworld.cli.ui import print_json, print_line
from overworld.cli.waiting import follow_operation, require_success, wait_for_state


@click.command()
@click.argument("server", type=SERVER, required=False)
@click.option("--operation", metavar="ID", help="Wait for this operation to end.")
@click.option("--state", type=click.Choice(STATES), help="Wait for the server to be in this state.")
@click.option("--timeout", type=DURATION, help="Wait no longer than this, for example 90s.")
@output_option
@pass_session
def wait(
    session: Session, server: str | None, operation: str | None, state: str | None, timeout: timedelta | None
) -> None:
    """Wait for an operation, or for a server to reach a state.

    With only SERVER (a name or an id): for the newest operation on it.
    """
    if (server is None) == (operation is None) or (operation is not None and state is not None):
        raise BadUsage("What to wait for?", "Name a SERVER (and perhaps --state), or give --operation ID.")
    if operation is not None:
        _report(session, follow_operation(session, operation, timeout))
        return
    found = find_server(session.api, str(server))
    if state is not None:
        reached = wait_for_state(session, found, state, timeout)
        if session.as_json:
            print_json(reached)
        elif reached["state"] == "running":
            print_connection(reached)
        else:
            print_line(f"{reached['name']} is {reached['state']}.")
        return
    newest = next(session.api.pages(api_path("operations"), {"server": found["id"]}, limit=1), None)
    if newest is None:
        print_line(f"Nothing was asked of {found['name']} lately; it is {found['state']}.")
        return
    _report(session, follow_operation(session, newest["id"], timeout))


def _report(session: Session, operation: Json) -> None:
    if session.as_json:
        print_json(operation)
    require_success(operation)
    if not session.as_json:
        print_line(f"The {operation['kind']} succeeded. {operation['message']}")
