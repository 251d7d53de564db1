"""Keeping an address and a token for later."""

from __future__ import annotations

import os
import sys

import click

from overworld.cli.api import Api, api_path
from overworld.cli.config import Target, check_token, check_url, config_path, write_config
from overworld.cli.errors import Refused
from overworld.cli.ui import print_line, print_note


@click.command()
@click.argument("url")
def login(url: str) -> None:
    """Keep the address of an Overworld and a token for it.

    The token is asked for, or read from standard input; never put it on a command line, where others can see it.
    Both are tried, then kept in a file that only you can read.
    """
    url = check_url(url, "URL")
    given = click.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    token = check_token(given, "The input")
    target = Target(url, "the command line", token, "the input")
    if url.startswith("http://") and not target.is_loopback:
        print_note(f"Careful: {url} is not encrypted. Everybody on the way can read the token; use https.")
    with Api(target) as api:
        account = api.get(api_path("me"))["account"]
    path = config_path(os.environ)
    try:
        write_config(path, url, token)
    except OSError as error:
        raise Refused(
            "The token cannot be kept", f"{path}: {error.strerror}", mend="See who may write there."
        ) from error
    print_line(f"You are {account['name']} at {url}. Kept in {path}.")
    for variable in ("OVERWORLD_URL", "OVERWORLD_TOKEN"):
        if os.environ.get(variable):
            print_note(f"{variable} is set and goes before what is kept.")
