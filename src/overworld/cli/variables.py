"""``--set name=value`` turned into the values that a game's variables take."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from overworld.cli.api import Json
from overworld.cli.errors import BadUsage

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read_settings(game: Json, given: Iterable[str]) -> Json:
    """The variables in ``given`` (each ``name=value``) by the kinds that ``game`` (of GET /games/{slug}) declares.

    Only kinds are checked: bounds are the API's to know. Raises ``BadUsage`` with every mistake at once.
    """
    variables = {str(variable["name"]): variable for variable in game["variables"]}
    values: Json = {}
    mistakes: list[tuple[str, str]] = []
    for setting in given:
        name, equals, text = setting.partition("=")
        variable = variables.get(name)
        if not equals:
            mistakes.append((setting, "write it as name=value"))
        elif variable is None:
            mistakes.append((name, _suggest(name, game, list(variables))))
        elif name in values:
            mistakes.append((name, "is set twice"))
        else:
            try:
                values[name] = _READERS.get(str(variable["kind"]), _read_string)(text, variable)
            except ValueError as error:
                mistakes.append((name, str(error)))
    if mistakes:
        raise BadUsage(
            "The variables cannot be set so", errors=mistakes, mend=f"`overworld games {game['slug']}` lists them."
        )
    return values


def show_bounds(variable: Json) -> str:
    """What values a variable takes, in a few words."""
    kind = variable["kind"]
    if kind == "choice":
        return " | ".join(map(str, variable.get("choices") or ()))
    if kind == "integer":
        low, high = variable.get("minimum"), variable.get("maximum")
        bounds = f"{'' if low is None else low}..{'' if high is None else high}"
        return f"integer {bounds}" if bounds != ".." else "integer"
    if kind == "boolean":
        return "true | false"
    pattern = f", like {variable['pattern']}" if variable.get("pattern") else ""
    return f"text, at most {variable['max_length']} characters{pattern}"


def _suggest(name: str, game: Json, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{game['slug']} has no such variable" + (f"; did you mean {near[0]}?" if near else "")


def _read_string(text: str, _variable: Json) -> object:
    return text


def _read_integer(text: str, variable: Json) -> object:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"must be a whole number ({show_bounds(variable)}), not {text!r}") from None


def _read_boolean(text: str, _variable: Json) -> object:
    if text.lower() not in _WORDS:
        raise ValueError(f"must be true or false, not {text!r}")
    return _WORDS[text.lower()]


def _read_choice(text: str, variable: Json) -> object:
    if text not in variable["choices"]:
        raise ValueError(f"must be one of {show_bounds(variable)}, not {text!r}")
    return text


_READERS: dict[str, Callable[[str, Json], object]] = {
    "string": _read_string,
    "integer": _read_integer,
    "boolean": _read_boolean,
    "choice": _read_choice,
}
