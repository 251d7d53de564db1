"""The machines of the cluster, and the word that only a person can give."""

from __future__ import annotations

import sys

import click

from overworld.cli.api import Json, api_path
from overworld.cli.errors import BadUsage
from overworld.cli.session import Session, ask, output_option, pass_session
from overworld.cli.times import show_time
from overworld.cli.ui import Column, print_json, print_note, print_pairs, print_table


@click.command()
@output_option
@pass_session
def nodes(session: Session) -> None:
    """List the nodes of the cluster that carry games.

    With what each waits for. For admins only.
    """
    found = session.api.get(api_path("nodes"))
    if session.as_json:
        print_json(found)
        return
    print_table(
        [
            Column("NAME"),
            Column("STATE"),
            Column("SINCE", drop=2),
            Column("SERVERS", drop=1, right=True),
            Column("SAYS"),
        ],
        [
            [each["name"], each["state"], show_time(each["since"]), str(each["servers"]), each["message"]]
            for each in found["items"]
        ],
        empty="No nodes: servers run on one machine, or no controller has looked at the cluster yet.",
    )


@click.group()
def node() -> None:
    """Look at one node, or say what became of it.

    For admins only.
    """


@node.command("show")
@click.argument("name")
@output_option
@pass_session
def show_node(session: Session, name: str) -> None:
    """Show one node: whether it answers, since when, and what is waited for."""
    _print(session, session.api.get(api_path("nodes", name)))


@node.command("confirm-lost")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option
@pass_session
def confirm_lost(session: Session, name: str, yes: bool) -> None:
    """Say that a node which does not answer is off, so that its servers start elsewhere.

    Make sure first: if its machine still runs, two games write each of its worlds, and that destroys them. Refused
    while the node answers.
    """
    found = session.api.get(api_path("nodes", name))
    if not yes:
        if not sys.stdin.isatty():
            raise BadUsage("Nobody is there to be asked", "Add --yes if you have made sure that the machine is off.")
        _explain(found)
        ask(f"Is the machine of {found['name']!r} off, and will it stay off?")
    answer = session.api.post(api_path("nodes", found["name"], "confirm-lost"), {"uid": found["uid"]})
    _print(session, answer.document)


def _explain(found: Json) -> None:
    for line in (
        f"{found['name']}: {found['message']}",
        f"Its machine: {found['provider_id'] or 'no cloud knows it'}.",
        f"Servers on it: {found['servers']}. They will start on other nodes, on the same worlds.",
        "If the machine is still on, even without network, its games go on writing those worlds: two writers destroy a",
        "world. Only say yes if you have seen it off (its console, its power switch, your cloud's portal).",
    ):
        print_note(line)


def _print(session: Session, found: Json) -> None:
    if session.as_json:
        print_json(found)
        return
    word = found["word"]
    print_pairs(
        {
            "name": found["name"],
            "state": found["state"],
            "since": show_time(found["since"]),
            "says": found["message"],
            "servers": str(found["servers"]),
            "machine": found["provider_id"] or None,
            "said to be off": None if word is None else f"{show_time(word['said_at'])} by {word['account_id']}",
            "uid": found["uid"],
        }
    )
