"""What happened, newest last."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import click

from overworld.cli.api import Json, api_path
from overworld.cli.lookup import SERVER, find_server, server_names
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.times import show_time
from overworld.cli.ui import Column, print_json, print_line, print_table

POLL_SECONDS = 1.0


@click.command()
@click.argument("server", type=SERVER, required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with new events as they come, until Ctrl-C.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@output_option
@pass_session
def events(session: Session, server: str | None, follow: bool, limit: int) -> None:
    """Show what happened, to one server or to all.

    Newest last. With -f and JSON: one object a line. SERVER is a name or an id.
    """
    found = None if server is None else find_server(session.api, server)
    path = api_path("events") if found is None else api_path("servers", found["id"], "events")
    newest = list(session.api.pages(path, limit=limit))[::-1]
    name = _names(session, found)
    if not follow:
        _print_all(session, newest, name)
        return
    last = 0
    while True:
        for event in newest:
            last = max(last, event["id"])
            _print_one(session, event, name)
        newest = list(session.api.pages(path, {"after": last}))[::-1]
        if not newest:
            time.sleep(POLL_SECONDS)


def _names(session: Session, server: Json | None) -> Callable[[str], str]:
    if session.as_json:
        return str
    return server_names(session.api) if server is None else lambda _: str(server["name"])


def _print_all(session: Session, found: list[Json], name: Callable[[str], str]) -> None:
    if session.as_json:
        print_json({"items": found, "next_page_token": None})
        return
    print_table(
        [
            Column("TIME (UTC)"),
            Column("LEVEL", drop=2, coloured=True),
            Column("SERVER", drop=3),
            Column("REASON", drop=1),
            Column("MESSAGE", wrap=True),
        ],
        [
            [show_time(each["at"]), each["level"], name(each["server_id"]), each["reason"], each["message"]]
            for each in found
        ],
        empty="Nothing happened yet.",
    )


def _print_one(session: Session, event: Json, name: Callable[[str], str]) -> None:
    if session.as_json:
        click.echo(json.dumps(event))
    else:
        print_line(
            f"{show_time(event['at'])}  {event['level']:7}  {name(event['server_id'])}  {event['reason']}: "
            f"{event['message']}"
        )
