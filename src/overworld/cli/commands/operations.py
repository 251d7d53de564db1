"""What was asked for, how far it is, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from overworld.cli.api import Json, api_path
from overworld.cli.lookup import SERVER, find_server, server_names
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.times import show_age
from overworld.cli.ui import Column, print_json, print_line, print_table


@click.command()
@click.argument("server", type=SERVER, required=False)
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many.")
@output_option
@pass_session
def operations(session: Session, server: str | None, limit: int) -> None:
    """List what was asked for and how it ended.

    Newest first. SERVER is a name or an id.
    """
    wanted = None if server is None else find_server(session.api, server)
    params = {} if wanted is None else {"server": wanted["id"]}
    found = list(session.api.pages(api_path("operations"), params, limit=limit))
    if session.as_json:
        print_json({"items": found, "next_page_token": None})
        return
    now = datetime.now(UTC)
    name = server_names(session.api) if wanted is None else lambda _: wanted["name"]
    print_table(
        [
            Column("OPERATION"),
            Column("SERVER", drop=2),
            Column("KIND"),
            Column("OUTCOME", coloured=True),
            Column("ASKED", drop=3),
            Column("MESSAGE", drop=1, wrap=True),
        ],
        [
            [
                each["id"],
                name(each["server_id"]),
                each["kind"],
                each["outcome"],
                f"{show_age(each['created_at'], now)} ago",
                _message(each),
            ]
            for each in found
        ],
        empty="Nothing was asked for.",
    )


def _message(operation: Json) -> str:
    if operation["outcome"] == "running" and operation["progress"]:
        return str(operation["progress"]["message"])
    return str(operation["message"])


@click.command()
@click.argument("operation")
@output_option
@pass_session
def cancel(session: Session, operation: str) -> None:
    """Call off an operation that has not ended.

    A create, a start, and what is done with saves can be; a stop that was sent to a game cannot be called back.
    OPERATION is an id.
    """
    cancelled = session.api.post(api_path("operations", operation, "cancel")).document
    if session.as_json:
        print_json(cancelled)
    else:
        print_line(f"The {cancelled['kind']} is {cancelled['outcome']}.")
