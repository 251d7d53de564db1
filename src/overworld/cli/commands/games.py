"""What there is to create a server of."""

from __future__ import annotations

import click

from overworld.cli.api import Json, api_path
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.ui import Column, print_heading, print_json, print_pairs, print_table
from overworld.cli.variables import show_bounds


@click.command()
@click.argument("game", required=False)
@output_option
@pass_session
def games(session: Session, game: str | None) -> None:
    """List the games, or show one with its variables.

    Without GAME: all of them.
    """
    if game is not None:
        _show_game(session, session.api.get(api_path("games", game)))
        return
    catalogue = session.api.get(api_path("games"))
    if session.as_json:
        print_json(catalogue)
        return
    print_table(
        [
            Column("GAME"),
            Column("TITLE", drop=2),
            Column("MEMORY", drop=3, right=True),
            Column("DESCRIPTION", drop=1, wrap=True),
        ],
        [
            [each["slug"], each["title"], f"{each['memory']['default_mib']} MiB", each["description"]]
            for each in catalogue["items"]
        ],
        empty="The catalogue is empty.",
    )


def _show_game(session: Session, game: Json) -> None:
    if session.as_json:
        print_json(game)
        return
    print_pairs(
        {
            "game": game["slug"],
            "title": game["title"],
            "about": game["description"],
            "ports": ", ".join(f"{port['name']} ({port['protocol']})" for port in game["ports"]),
            "memory": f"{game['memory']['default_mib']} MiB, at least {game['memory']['minimum_mib']}",
        }
    )
    print_heading("Variables (--set NAME=VALUE)")
    print_table(
        [
            Column("NAME"),
            Column("DEFAULT", drop=2),
            Column("VALUES", drop=1, wrap=True),
            Column("DESCRIPTION", drop=3, wrap=True),
        ],
        [[each["name"], _show_default(each), show_bounds(each), each["description"]] for each in game["variables"]],
        empty="It has none.",
    )


def _show_default(variable: Json) -> str:
    default = variable["default"]
    return str(default).lower() if isinstance(default, bool) else str(default) or "(empty)"
