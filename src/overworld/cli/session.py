"""What every command shares: the form of its answers and the API, found and opened only when first needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from overworld.cli.api import Api
from overworld.cli.config import find_target
from overworld.cli.errors import AS_JSON, NotAllowed

F = TypeVar("F", bound=Callable[..., Any])


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
                    mend="Run `overworld login`, or set OVERWORLD_TOKEN.",
                )
            self._api = Api(target)
        return self._api

    def close(self) -> None:
        """Give up the connections. Safe to call twice."""
        if self._api is not None:
            self._api.close()


pass_session = click.make_pass_decorator(Session, ensure=True)


def _set_output(ctx: click.Context, _param: click.Parameter, value: str) -> None:
    session = ctx.ensure_object(Session)
    session.as_json = value == "json"
    ctx.call_on_close(session.close)
    ctx.meta[AS_JSON] = session.as_json


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
