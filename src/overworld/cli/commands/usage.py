"""Hours run and played."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from overworld.cli.api import Json, api_path
from overworld.cli.lookup import SERVER, find_server
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.times import DURATION, show_time
from overworld.cli.ui import Column, print_json, print_table


@click.command()
@click.argument("server", type=SERVER, required=False)
@click.option("--since", type=DURATION, default="30d", show_default=True, help="How far back to look.")
@output_option
@pass_session
def usage(session: Session, server: str | None, since: timedelta) -> None:
    """Show hours run and played, by server.

    With SERVER (a name or an id): how many played and what it used, over time.
    """
    start = (datetime.now(UTC) - since).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    if server is not None:
        _show_history(session, find_server(session.api, server), since, start)
        return
    document = session.api.get(api_path("usage"), {"since": start})
    if session.as_json:
        print_json(document)
        return
    names = {each["id"]: each["name"] for each in session.api.pages(api_path("servers"))} if document["items"] else {}
    print_table(
        [
            Column("SERVER"),
            Column("ID", drop=3),
            Column("ACCOUNT", drop=4),
            Column("RUN (h)", right=True),
            Column("PLAYED (h)", right=True),
            Column("MEMORY (GiB·h)", drop=2, right=True),
        ],
        [
            [
                names.get(each["server_id"]),
                each["server_id"],
                each["account_id"],
                each["running_seconds"] / 3600,
                each["played_seconds"] / 3600,
                each["memory_mib_seconds"] / 3600 / 1024,
            ]
            for each in document["items"]
        ],
        empty="Nothing ran in that time.",
    )


def _show_history(session: Session, server: Json, since: timedelta, start: str) -> None:
    resolution = 60 if since <= timedelta(hours=2) else 3600 if since <= timedelta(days=3) else 86400
    path = api_path("servers", server["id"], "activity")
    document = session.api.get(path, {"since": start, "resolution_seconds": resolution})
    if session.as_json:
        print_json(document)
        return
    print_table(
        [
            Column("TIME (UTC)"),
            Column("PLAYERS", right=True),
            Column("MOST", drop=1, right=True),
            Column("CPU %", right=True),
            Column("MEMORY MiB", right=True),
            Column("DISK MiB", drop=2, right=True),
        ],
        [
            [
                show_time(each["at"]),
                each["players_average"],
                each["players_max"],
                each["cpu_percent"],
                each["memory_mib"],
                each["disk_mib"],
            ]
            for each in document["history"]
        ],
        empty=f"{server['name']} did not run in that time.",
    )
