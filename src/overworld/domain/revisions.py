"""Revisions of a server's configuration: what it was, who changed it when, and what differs. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from overworld.domain.servers import Server, ServerId

MOST_LINES = 2000
"""Of a text that is compared: the time for it may grow with their square."""
VARIABLE = "variables."
"""Before the name of a variable of the game, in names of settings."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a server's configuration became. ``number`` counts up from 1 for each server; ``by`` is an account's name,
    "" where nobody knows: it was so when Overworld first looked.

    It is about the server's settings (``path`` None: ``content`` is ``settings_of`` it) or about one text file of its
    world (``content`` is ``{"text": …}``). ``changed`` are the names of settings that differ from the revision before;
    ``restored_from`` is the one that it brought back.
    """

    server_id: ServerId
    number: int
    account_id: str
    at: datetime
    by: str
    content: Mapping[str, Any]
    path: str | None = None
    changed: tuple[str, ...] = ()
    restored_from: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs; None is one that is not there. Of a secret both values are None."""

    name: str
    before: object
    after: object
    is_secret: bool


def settings_of(server: Server) -> dict[str, Any]:
    """All that an edit can change of a server, as it is stored, and whose game's variables they are."""
    return {
        "game": server.game,
        "name": server.name,
        "memory_mib": server.memory_mib,
        "storage": server.storage,
        "disk_mib": server.disk_mib,
        "network": server.network,
        "variables": dict(server.variables),
    }


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, variables as ``variables.NAME``; what there is no choice of is left out."""
    variables: Mapping[str, Any] = settings.get("variables", {})
    plain = {name: value for name, value in settings.items() if name != "variables" and value is not None}
    return plain | {f"{VARIABLE}{name}": value for name, value in variables.items()}


def compare_settings(
    before: Mapping[str, Any], after: Mapping[str, Any], secrets: Collection[str] = ()
) -> tuple[Change, ...]:
    """What differs, by name. ``secrets`` are names of variables whose values nobody is shown."""
    old, new = flatten(before), flatten(after)
    hidden = {f"{VARIABLE}{name}" for name in secrets}
    return tuple(
        Change(
            name,
            None if name in hidden else old.get(name),
            None if name in hidden else new.get(name),
            name in hidden,
        )
        for name in sorted(old.keys() | new.keys())
        if (name in old, old.get(name)) != (name in new, new.get(name))
    )


def compare_texts(before: str, after: str) -> str | None:
    """A unified diff, "" for equal texts; None where they have too many lines."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if max(len(old), len(new)) > MOST_LINES:
        return None
    lines = list(difflib.unified_diff(old, new))[2:]  # without names of files
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
