"""API tokens."""

from __future__ import annotations

from datetime import timedelta

import click

from overworld.cli.api import api_path
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.times import DURATION, show_time
from overworld.cli.ui import Column, print_json, print_line, print_note, print_table

ACCOUNT = click.option("--account", default="me", metavar="ID", help="Of this account; left out: your own.")


@click.group()
def token() -> None:
    """Look after API tokens."""


@token.command("list")
@ACCOUNT
@output_option
@pass_session
def list_tokens(session: Session, account: str) -> None:
    """List the tokens of an account; their secrets are known to nobody any more."""
    found = list(session.api.pages(api_path("accounts", account, "tokens")))
    if session.as_json:
        print_json({"items": found, "next_page_token": None})
        return
    print_table(
        [
            Column("ID"),
            Column("LABEL"),
            Column("PREFIX", drop=2),
            Column("CREATED", drop=3),
            Column("EXPIRES", drop=1),
            Column("LAST USED", drop=4),
            Column("REVOKED", drop=1),
        ],
        [
            [
                each["id"],
                each["label"],
                each["prefix"],
                show_time(each["created_at"]),
                show_time(each["expires_at"]),
                show_time(each["last_used_at"]),
                show_time(each["revoked_at"]),
            ]
            for each in found
        ],
        empty="No tokens.",
    )


@token.command("create")
@click.argument("label")
@click.option("--lifetime", type=DURATION, help="How long it is valid, for example 90d; left out: until revoked.")
@ACCOUNT
@output_option
@pass_session
def create_token(session: Session, label: str, lifetime: timedelta | None, account: str) -> None:
    """Make a token. It is printed once, alone on standard output. LABEL says what it is for."""
    body = {"label": label, "lifetime_seconds": None if lifetime is None else int(lifetime.total_seconds())}
    made = session.api.post(api_path("accounts", account, "tokens"), body, retry=False).document
    if session.as_json:
        print_json(made)
        return
    print_note(f"Keep it now, it cannot be shown again (id {made['id']}):")
    print_line(made["token"])


@token.command("revoke")
@click.argument("token_id")
@ACCOUNT
@pass_session
def revoke_token(session: Session, token_id: str, account: str) -> None:
    """Make a token worthless, at once and for good. TOKEN_ID is the id that `token list` shows."""
    session.api.delete(api_path("accounts", account, "tokens", token_id))
    print_line(f"{token_id} is revoked.")
