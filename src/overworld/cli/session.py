"""What every command shares: the form of its answers and the API, found and opened only when first needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from overworld.cli.api import Api
from overworld.cli.config import find_target
from overworld.cli.errors import AS_JSON, BadUsage, NotAllowed

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Session:
    """One run of the program."""

    as_json: bool = False
    _api: Api | None = field(default=None, repr=False)

    @property
    def api(self) -> Api:
        """The API, opened once. Raises ``CliError`` if no address or no token is known."""
        if self._api is None:
            target = find_target(os.environ)
            if target.token is None:
                raise NotAllowed(
                    "No token is known",
                    f"for {target.url} (the address comes from {target.url_from})",
                    mend="Run `overworld login`, or set OVERWORLD_TOKEN. For an installation on this machine: set "
                    "OVERWORLD_DATA_FOLDER as its `overworld up` has it, and be a user who may read that folder.",
                )
            self._api = Api(target)
        return self._api

    def close(self) -> None:
        """Give up the connections. Safe to call twice."""
        if self._api is not None:
            self._api.close()


def pass_session(command: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """Hand a command its session, closed when the command ends."""

    @wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        session = Session(as_json=bool(click.get_current_context().meta.get(AS_JSON)))
        try:
            return command(session, *arguments, **options)
        finally:
            session.close()

    return run


def _set_output(ctx: click.Context, _param: click.Parameter, value: str) -> None:
    ctx.meta[AS_JSON] = value == "json"


def output_option(command: F) -> F:
    """Give a command ``--output table|json``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        expose_value=False,
        is_eager=True,
        callback=_set_output,
        help="For people, or the API's own JSON.",
    )(command)


def confirm(question: str, yes: bool) -> None:
    """Somebody wants it: ``yes`` was said before, or is said now. Ends the program with 1 after a no. Raises BadUsage
    where nobody is there to be asked, and click's Abort after Ctrl-C."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadUsage("Nobody is there to be asked", "Add --yes to do it without a question.")
    ask(question)


def ask(question: str) -> None:
    """Somebody at the terminal says yes, else the program ends with 1."""
    if not click.confirm(question, err=True):
        click.echo("Nothing was done.", err=True)
        raise click.exceptions.Exit(1)
