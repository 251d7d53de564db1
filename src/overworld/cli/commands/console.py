"""A server's output, and its input."""

from __future__ import annotations

import sys

import click

from overworld.cli.api import Json, api_path
from overworld.cli.lines import print_log_line
from overworld.cli.lookup import SERVER, find_server
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.stream import follow_console
from overworld.cli.ui import print_json, print_note


@click.command()
@click.argument("server", type=SERVER)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 1000), default=200, show_default=True, help="How many to begin with."
)
@click.option("-t", "--timestamps", is_flag=True, help="The time (UTC) before each line.")
@output_option
@pass_session
def logs(session: Session, server: str, follow: bool, lines: int, timestamps: bool) -> None:
    """Show what a server printed.

    Works for a stopped server too. With -f and JSON: one object a line. SERVER is a name or an id.
    """
    found = find_server(session.api, server)
    seen = _newest_lines(session, found, max(lines, 1))
    shown = seen[-lines:] if lines else []
    if session.as_json and not follow:
        print_json({"lines": shown})
        return
    for line in shown:
        print_log_line(line, timestamps=timestamps, as_json=session.as_json)
    if follow:
        after = seen[-1]["id"] if seen else None
        for line in follow_console(session.api, found["id"], after=after, on_break=print_note):
            print_log_line(line, timestamps=timestamps, as_json=session.as_json)


@click.command()
@click.argument("server", type=SERVER)
@pass_session
def console(session: Session, server: str) -> None:
    """Watch a server's console and send it commands.

    On a terminal: the arrow keys bring back earlier commands, Ctrl-D leaves, and the server runs on. In a pipe every
    line of standard input is a command; what the server prints is printed until it was silent for two seconds after
    the last one. SERVER is a name or an id.
    """
    # The line editor is slow to import, and of use here only.
    from overworld.cli.attach import attach_pipe, attach_terminal

    found = find_server(session.api, server)
    if sys.stdin.isatty() and sys.stdout.isatty():
        attach_terminal(session.api, found)
    else:
        newest = _newest_lines(session, found, 1)
        attach_pipe(session.api, found, after=newest[-1]["id"] if newest else None)


def _newest_lines(session: Session, server: Json, limit: int) -> list[Json]:
    lines: list[Json] = session.api.get(api_path("servers", server["id"], "console"), {"limit": limit})["lines"]
    return lines
