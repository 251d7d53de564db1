"""Accounts: mostly for admins."""

from __future__ import annotations

import click

from overworld.cli.api import Json, api_path, read_document
from overworld.cli.errors import BadUsage
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.times import show_time
from overworld.cli.ui import Column, print_json, print_line, print_pairs, print_table

ROLES = click.Choice(["admin", "user"])
LARGEST_QUOTA = 2**31 - 1
"""The most that the API takes, which the first admin has: as good as none."""


@click.group()
def accounts() -> None:
    """Look after accounts."""


@accounts.command("list")
@output_option
@pass_session
def list_accounts(session: Session) -> None:
    """List the accounts."""
    found = list(session.api.pages(api_path("accounts")))
    if session.as_json:
        print_json({"items": found, "next_page_token": None})
        return
    print_table(
        [
            Column("NAME"),
            Column("ROLE"),
            Column("SERVERS", drop=2, right=True),
            Column("MEMORY MiB", drop=2, right=True),
            Column("DISABLED", drop=1),
            Column("ID"),
        ],
        [
            [
                each["name"],
                each["role"],
                _limit(each["quota"]["servers"]),
                _limit(each["quota"]["memory_mib"]),
                show_time(each["disabled_at"]),
                each["id"],
            ]
            for each in found
        ],
        empty="No accounts.",
    )


@accounts.command("show")
@click.argument("account", default="me")
@output_option
@pass_session
def show_account(session: Session, account: str) -> None:
    """Show one account; without ACCOUNT (an id) your own, and what it uses of its quota."""
    if account == "me":
        me = session.api.get(api_path("me"))
        if session.as_json:
            print_json(me)
            return
        _print_account(me["account"], me["used"])
        return
    found = session.api.get(api_path("accounts", account))
    if session.as_json:
        print_json(found)
    else:
        _print_account(found, None)


@accounts.command("create")
@click.argument("name")
@click.option("--role", type=ROLES, default="user", show_default=True, help="An admin sees and does everything.")
@click.option("--servers", type=click.IntRange(min=0), help="How many servers it may own.")
@click.option("--memory-mib", type=click.IntRange(min=0), help="How much memory its servers may have together.")
@output_option
@pass_session
def create_account(session: Session, name: str, role: str, servers: int | None, memory_mib: int | None) -> None:
    """Make an account; `overworld token create --account ID` then makes its first token."""
    quota = _quota(servers, memory_mib)
    if len(quota) == 1:
        raise BadUsage("Half a quota", "Give both --servers and --memory-mib, or neither for the installation's own.")
    made = session.api.post(api_path("accounts"), {"name": name, "role": role, **({"quota": quota} if quota else {})})
    if session.as_json:
        print_json(made.document)
    else:
        print_line(f"{made.document['name']} has the id {made.document['id']}.")


@accounts.command("edit")
@click.argument("account")
@click.option("--role", type=ROLES, help="An admin sees and does everything.")
@click.option("--servers", type=click.IntRange(min=0), help="How many servers it may own.")
@click.option("--memory-mib", type=click.IntRange(min=0), help="How much memory its servers may have together.")
@click.option("--disable/--enable", "disabled", default=None, help="Whether its tokens are refused.")
@output_option
@pass_session
def edit_account(
    session: Session,
    *,
    account: str,
    role: str | None,
    servers: int | None,
    memory_mib: int | None,
    disabled: bool | None,
) -> None:
    """Change an account's role or quota, or disable it. ACCOUNT is an id."""
    body: Json = {}
    if role is not None:
        body["role"] = role
    if disabled is not None:
        body["disabled"] = disabled
    quota = _quota(servers, memory_mib)
    if not body and not quota:
        raise BadUsage("Nothing to change", "Give --role, --servers, --memory-mib, --disable or --enable.")
    path = api_path("accounts", account)
    version = None
    if quota:  # the API takes a quota as a whole: what is not given stays as it is
        present = session.api.request("GET", path)
        body["quota"] = {**read_document(present, session.api.target)["quota"], **quota}
        version = present.headers.get("ETag")
    edited = session.api.patch(path, body, version=version)
    if session.as_json:
        print_json(edited)
    else:
        _print_account(edited, None)


def _quota(servers: int | None, memory_mib: int | None) -> Json:
    quota = {"servers": servers, "memory_mib": memory_mib}
    return {key: value for key, value in quota.items() if value is not None}


def _limit(most: int) -> str:
    return "no limit" if most == LARGEST_QUOTA else str(most)


def _share(used: Json | None, quota: Json, name: str, unit: str) -> str:
    most = quota[name]
    if most == LARGEST_QUOTA:
        return "no limit" if used is None else f"{used[name]}{unit}, no limit"
    return f"at most {most}{unit}" if used is None else f"{used[name]} of {most}{unit}"


def _print_account(account: Json, used: Json | None) -> None:
    quota = account["quota"]
    print_pairs(
        {
            "name": account["name"],
            "id": account["id"],
            "role": account["role"],
            "servers": _share(used, quota, "servers", ""),
            "memory": _share(used, quota, "memory_mib", " MiB"),
            "created": show_time(account["created_at"]),
            "disabled": show_time(account["disabled_at"]) if account["disabled_at"] else None,
        }
    )
