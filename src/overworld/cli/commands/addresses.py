"""The public addresses of an installation."""

from __future__ import annotations

import click

from overworld.cli.api import api_path
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.times import show_time
from overworld.cli.ui import Column, print_heading, print_json, print_pairs, print_table


@click.command()
@output_option
@pass_session
def addresses(session: Session) -> None:
    """List the public addresses of all servers (admins only).

    With the room that is left for more, and what is odd: addresses that belong to no server, or are not in the cloud.
    """
    found = session.api.get(api_path("addresses"))
    if session.as_json:
        print_json(found)
        return
    print_table(
        [
            Column("SERVER"),
            Column("IP"),
            Column("NAME", drop=2),
            Column("PORTS", drop=3, right=True),
            Column("LEASED (UTC)", drop=1),
        ],
        [
            [
                each["server_id"],
                each["ip"] or "being made",
                each["dns_name"] or each["label"],
                str(each["ports"]),
                show_time(each["leased_at"]),
            ]
            for each in found["items"]
        ],
        empty="No server has a public address of its own that Overworld made.",
    )
    if found["balancer_ports"] is not None:
        room = {"balancer": f"{found['balancer_ports_used']} of {found['balancer_ports']} ports are leased"}
        room |= {each["place"]: f"{each['used']} of {each['limit']} addresses are used" for each in found["quotas"]}
        print_heading("Room")
        print_pairs(room)
    if found["findings"]:
        print_heading("Odd")
        rows = [[finding["server_id"], finding["says"]] for finding in found["findings"]]
        print_table([Column("SERVER"), Column("SAYS", wrap=True)], rows, empty="Nothing.")
