"""Making servers, looking at them, and editing them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from overworld.cli.api import Json, api_path
from overworld.cli.errors import BadUsage, CliError
from overworld.cli.lookup import SERVER, find_server
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.sizes import SIZE
from overworld.cli.times import show_age, show_time
from overworld.cli.ui import Column, print_heading, print_json, print_line, print_note, print_pairs, print_table
from overworld.cli.variables import read_settings
from overworld.cli.waiting import follow_operation, require_success, wait_options
from overworld.domain.worlds import say_size

STATES = ("pending", "starting", "running", "stopping", "stopped", "failed", "deleted")
SORTS = ("name", "-name", "created_at", "-created_at", "state", "-state")


@click.command()
@click.argument("game")
@click.argument("name")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a variable of the game (repeatable).")
@click.option("--memory-mib", type=click.IntRange(min=1), help="Memory of the server in MiB.")
@click.option(
    "--storage", type=click.Choice(["disk", "share"]), help="What its world lies on, for good. Left out: what suits."
)
@click.option("--disk", "disk_mib", type=SIZE, help="Size of its disk: 8GiB, 8192MiB. Left out: what suits the game.")
@click.option(
    "--network",
    type=click.Choice(["stable", "direct"]),
    help="How players come in, for good: an address of its own, or ports of the node that it runs on.",
)
@click.option("--stopped", is_flag=True, help="Make it without starting it.")
@wait_options
@output_option
@pass_session
def create(
    session: Session,
    *,
    game: str,
    name: str,
    settings: tuple[str, ...],
    memory_mib: int | None,
    storage: str | None,
    disk_mib: int | None,
    network: str | None,
    stopped: bool,
    wait: bool,
    timeout: timedelta | None,
) -> None:
    """Make a server of a game.

    GAME is a word of `overworld games`, NAME what the server is called. Waits until players can join, and then says
    how.
    """
    body: Json = {"name": name, "game": game, "start": not stopped}
    if settings:
        body["variables"] = read_settings(session.api.get(api_path("games", game)), settings)
    choices = {"memory_mib": memory_mib, "storage": storage, "disk_mib": disk_mib, "network": network}
    body |= {name: choice for name, choice in choices.items() if choice is not None}
    answer = session.api.post(api_path("servers"), body)
    server = answer.document
    failure: CliError | None = None
    if wait:
        if not session.as_json:
            print_note(f"{name} has the id {server['id']}.")
        try:
            operation = answer.headers.get("Operation-Location", "").rpartition("/")[2]
            require_success(follow_operation(session, operation, timeout))
            server = session.api.get(api_path("servers", server["id"]))
        except CliError as error:  # the server exists all the same: programs are told its id first
            failure = error
    if session.as_json:
        print_json(server)
    elif failure is None:
        print_connection(server)
    if failure is not None:
        raise failure


def print_connection(server: Json) -> None:
    """How players reach a server, or (before it has an address) what it is doing."""
    print_line(f"{server['name']} is {server['state']}.")
    if server["connect"]:
        print_line(server["connect"])
    for endpoint in server["endpoints"]:
        print_line(f"{endpoint['name']}: {show_endpoint(endpoint)}")


def show_endpoint(endpoint: Json) -> str:
    """An address as people write it."""
    host = f"[{endpoint['host']}]" if ":" in endpoint["host"] else endpoint["host"]
    return f"{host}:{endpoint['port']}/{endpoint['protocol']}"


@click.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only in this state (repeatable).")
@click.option("--game", help="Only of this game.")
@click.option("--name", help="Only those whose name contains this.")
@click.option("--owner", help="Only of the account with this id or name.")
@click.option("--deleted", is_flag=True, help="The deleted ones that can still be undeleted.")
@click.option("--sort", type=click.Choice(SORTS), default="name", show_default=True, help="Order; - means downwards.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@output_option
@pass_session
def list_servers(
    session: Session,
    *,
    states: tuple[str, ...],
    game: str | None,
    name: str | None,
    owner: str | None,
    deleted: bool,
    sort: str,
    limit: int | None,
) -> None:
    """List the servers that you may see."""
    params = {
        "state": list(states) or None,
        "game": game,
        "name": name,
        "owner": owner,
        "deleted": "true" if deleted else None,
        "sort": sort,
    }
    servers = list(session.api.pages(api_path("servers"), params, limit=limit))
    if session.as_json:
        print_json({"items": servers, "next_page_token": None})
        return
    print_table(
        [
            Column("NAME"),
            Column("STATE", coloured=True),
            Column("GAME", drop=2),
            Column("PLAYERS", drop=1),
            Column("ADDRESS", drop=1),
            Column("OWNER", drop=4),
            Column("ID", drop=3),
        ],
        [
            [
                server["name"],
                server["state"],
                server["game"],
                show_players(server),
                show_endpoint(server["endpoints"][0]) if server["endpoints"] else None,
                server["owner"]["name"],
                server["id"],
            ]
            for server in servers
        ],
        empty="No servers. `overworld games` shows what there is to create.",
    )


def show_players(server: Json) -> str:
    """How many play: a number, "?" where nobody could tell, "-" where nothing runs."""
    activity = server["activity"]
    if server["state"] != "running" or not activity:
        return "-"
    if activity["players"] is None:
        return "?"
    most = activity["max_players"]
    return f"{activity['players']}" + (f"/{most}" if most is not None else "")


@click.command()
@click.argument("server", type=SERVER)
@output_option
@pass_session
def show(session: Session, server: str) -> None:
    """Show everything about one server.

    SERVER is a name or an id.
    """
    found = session.api.get(api_path("servers", find_server(session.api, server)["id"]))
    if session.as_json:
        print_json(found)
        return
    now = datetime.now(UTC)
    activity = found["activity"] or {}
    print_pairs(
        {
            "name": found["name"],
            "id": found["id"],
            "state": found["state"],
            "wanted": found["desired"],
            "game": found["game"],
            "owner": found["owner"]["name"],
            "connect": found["connect"] or None,
            "address": ", ".join(map(show_endpoint, found["endpoints"])) or None,
            "dns name": next((one["dns_name"] for one in found["endpoints"] if one.get("dns_name")), None),
            "memory": f"{found['memory_mib']} MiB",
            "storage": found["storage"],
            "disk": say_size(found["disk_mib"]) if found["disk_mib"] else None,
            "network": found["network"],
            "created": show_time(found["created_at"]),
            "deleted": show_time(found["deleted_at"]) if found["deleted_at"] else None,
            "kept until": show_time(found["purge_at"]) if found["purge_at"] else None,
            "players": show_players(found),
            "who": ", ".join(activity.get("names") or ()) or None,
            "presence": activity.get("presence"),
            "uses": _show_use(activity),
            "seen": f"{show_age(activity['seen_at'], now)} ago" if activity.get("seen_at") else None,
        }
    )
    if found["variables"]:
        print_heading("Variables")
        print_pairs(found["variables"])
    print_heading("Conditions")
    print_table(
        [
            Column("TYPE"),
            Column("STATUS", coloured=True),
            Column("REASON", drop=1),
            Column("SINCE", drop=2),
            Column("MESSAGE", wrap=True),
        ],
        [
            [each["type"], each["status"], each["reason"], show_age(each["since"], now), each["message"]]
            for each in found["conditions"]
        ],
        empty="Nothing was seen of it yet.",
    )


def _show_use(activity: Json) -> str | None:
    parts = [
        f"{activity[key]:.{digits}f} {unit}"
        for key, digits, unit in (
            ("cpu_percent", 1, "% of a core"),
            ("memory_mib", 0, "MiB memory"),
            ("disk_mib", 0, "MiB disk"),
        )
        if activity.get(key) is not None
    ]
    return ", ".join(parts) or None


@click.command()
@click.argument("server", type=SERVER)
@click.option("--name", help="The new name.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a variable of the game (repeatable).")
@click.option("--unset", multiple=True, metavar="NAME", help="Set a variable back to its default (repeatable).")
@click.option("--memory-mib", type=click.IntRange(min=1), help="Memory of the server in MiB.")
@click.option("--disk", "disk_mib", type=SIZE, help="A larger disk: 16GiB, 16384MiB. It grows at once.")
@output_option
@pass_session
def edit(
    session: Session,
    *,
    server: str,
    name: str | None,
    settings: tuple[str, ...],
    unset: tuple[str, ...],
    memory_mib: int | None,
    disk_mib: int | None,
) -> None:
    """Change a server's name, memory or variables, or let its disk grow.

    A running server goes on as it is until it is restarted; a disk grows at once, and never shrinks.
    """
    found = find_server(session.api, server)
    body: Json = {}
    if settings or unset:
        game = session.api.get(api_path("games", found["game"])) if settings else {}
        body["variables"] = {**dict.fromkeys(unset), **(read_settings(game, settings) if settings else {})}
    if name is not None:
        body["name"] = name
    if memory_mib is not None:
        body["memory_mib"] = memory_mib
    if disk_mib is not None:
        body["disk_mib"] = disk_mib
    if not body:
        raise BadUsage("Nothing to change", "Give --name, --set, --unset, --memory-mib or --disk.")
    edited = session.api.patch(api_path("servers", found["id"]), body)
    if session.as_json:
        print_json(edited)
        return
    print_line(f"{edited['name']} is changed.")
    if edited["state"] in {"running", "starting"} and (body.keys() & {"variables", "memory_mib"}):
        print_note(f"What runs keeps its old settings until `overworld restart {edited['id']}`.")
