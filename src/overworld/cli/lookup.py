"""Finding the server that a person means: by id, or by name."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from overworld.cli.api import ONCE, Api, Json, api_path
from overworld.cli.config import find_target
from overworld.cli.errors import BadUsage, CliError, NotFound

_ID = re.compile(r"[a-z][a-z0-9]{11}")
_SAFE_TO_COMPLETE = re.compile(r"[\w.-]+")
_MOST_CANDIDATES = 20
MOST_NAMES = 1000


def find_server(api: Api, wanted: str) -> Json:
    """The server with the id ``wanted``, else the one with that name; of living and deleted ones of one name, the
    living one. Raises ``NotFound``, and ``BadUsage`` with the candidates if several have the name."""
    if _ID.fullmatch(wanted):
        try:
            return api.get(api_path("servers", wanted))
        except NotFound:
            pass  # a name may look like an id
    for deleted in ("false", "true"):
        found = list(api.pages(api_path("servers"), {"name": wanted, "deleted": deleted}, limit=200))
        exact = [server for server in found if server["name"] == wanted]
        if len(exact) == 1:
            return exact[0]
        if exact:
            raise BadUsage(
                f"Several servers are called {wanted}",
                "Name the one you mean by its id:",
                errors=[
                    (server["id"], f"{server['game']}, of {server['owner']['name']}")
                    for server in exact[:_MOST_CANDIDATES]
                ],
            )
    raise NotFound(f"There is no server {wanted}", mend="`overworld list` shows the servers that you may see.")


def server_names(api: Api) -> Callable[[str], str]:
    """What to call the server with an id: by its name if it is there and no other one is called so, else by its id."""
    names: dict[str, str] = {}
    for deleted in ("false", "true"):
        found = api.pages(api_path("servers"), {"deleted": deleted}, limit=MOST_NAMES)
        names |= {str(server["id"]): str(server["name"]) for server in found}
    often = Counter(names.values())

    def name(server_id: str) -> str:
        found = names.get(server_id, server_id)
        return found if often[found] == 1 else server_id

    return name


class ServerName(click.ParamType[str]):
    """An argument that names a server; the shell completes the names that the API lists."""

    name = "server"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names that begin so. Whatever goes wrong, there is simply nothing to complete."""
        try:
            with Api(find_target(os.environ), retry=ONCE) as api:
                names = [str(server["name"]) for server in api.pages(api_path("servers"), limit=200)]
        except (CliError, LookupError):
            return []
        return [
            CompletionItem(name) for name in names if name.startswith(incomplete) and _SAFE_TO_COMPLETE.fullmatch(name)
        ]


SERVER = ServerName()
