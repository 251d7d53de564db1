"""An owner's choices against what the game allows. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from overworld.domain.errors import BadInput
from overworld.domain.games import Game, Value, Variable, VariableKind
from overworld.games.text import find_odd_character


def check_variables(game: Game, given: Mapping[str, object]) -> dict[str, Value]:
    """The full set of the game's variables: what was given, and the defaults for the rest.

    Raises BadInput naming every wrong one in ``errors``; nothing is coerced ("7" is no integer, 1 is no boolean).
    """
    errors = [
        {"at": f"/variables/{_pointer(name)}", "says": f"{game.title} has no such variable; it has {_names(game)}."}
        for name in given
        if game.variable(name) is None
    ]
    checked: dict[str, Value] = {}
    for variable in game.variables:
        value = given.get(variable.name, variable.default)
        complaint = find_fault(variable, value)
        if complaint is not None:
            errors.append({"at": f"/variables/{variable.name}", "says": complaint})
        elif isinstance(value, str | int | bool):
            checked[variable.name] = value
    if errors:
        raise BadInput(f"{errors[0]['at']}: {errors[0]['says']}", errors=errors)
    return checked


def find_fault(variable: Variable, value: object) -> str | None:
    """What is wrong with the value and what would be right, as a sentence; None if nothing is."""
    match variable.kind:
        case VariableKind.BOOLEAN:
            return None if isinstance(value, bool) else "must be true or false."
        case VariableKind.INTEGER:
            return _fault_of_integer(variable, value)
        case VariableKind.CHOICE:
            is_known = isinstance(value, str) and value in variable.choices
            return None if is_known else f"must be one of {', '.join(variable.choices)}."
        case VariableKind.STRING:
            return _fault_of_string(variable, value)


def _fault_of_integer(variable: Variable, value: object) -> str | None:
    low, high = variable.minimum, variable.maximum
    if isinstance(value, bool) or not isinstance(value, int):
        return "must be a whole number."
    if (low is not None and value < low) or (high is not None and value > high):
        return f"must be {_bounds(low, high)}."
    return None


def _fault_of_string(variable: Variable, value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a text."
    if len(value) > variable.max_length:
        return f"must be at most {variable.max_length} characters long; this has {len(value)}."
    if (odd := find_odd_character(value)) is not None:
        return f"must be one line without control characters; it holds {odd}."
    if variable.pattern is not None and re.fullmatch(variable.pattern, value) is None:
        return f"must match {variable.pattern}: {variable.description}"
    return None


def _bounds(low: int | None, high: int | None) -> str:
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def _names(game: Game) -> str:
    return ", ".join(variable.name for variable in game.variables) or "none"


def _pointer(name: str) -> str:
    """One step of a JSON pointer (RFC 6901, section 3)."""
    return str(name).replace("~", "~0").replace("/", "~1")
