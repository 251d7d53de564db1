"""What the parts of one game file must agree on, found when it is loaded and never at a start. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from overworld.domain.games import FileFormat, Game, Variable, VariableKind
from overworld.games.templates import find_placeholders, leading_placeholder
from overworld.games.text import find_odd_character
from overworld.games.variables import find_fault

Fault = tuple[str, str]
"""Where in the file (start.arguments.3), and a sentence on what is wrong and what would be right."""

OWN_IMAGES = frozenset({"keeper", "overworld"})
"""In the registry of the games' images, but not games (deploy/images)."""


def find_faults(game: Game) -> Iterator[Fault]:
    """Every disagreement in the game's file; none means that any server of it can be rendered."""
    yield from _faults_of_names(game)
    yield from _faults_of_variables(game)
    yield from _faults_of_templates(game)
    yield from _faults_of_arguments(game)
    yield from _faults_of_files(game)
    yield from _faults_of_patterns(game)
    yield from _faults_of_lines(game)
    if game.image in OWN_IMAGES:
        yield "image", f"{game.image} is an image of Overworld's own: give the game's another name here."
    if game.memory.default_mib < game.memory.minimum_mib:
        yield "memory.default_mib", f"must be at least minimum_mib, which is {game.memory.minimum_mib}."


def placeholder_names(game: Game) -> frozenset[str]:
    """Everything that a template of this game may name, but for ``connect``."""
    return frozenset(
        {"world", "config", "programs", "memory_mib", "server.id", "server.name"}
        | {f"ports.{port.name}" for port in game.ports}
        | {f"variables.{variable.name}" for variable in game.variables}
    )


def connect_names(game: Game) -> frozenset[str]:
    """Everything that ``connect`` may name: it is public, so no variable is among them."""
    return frozenset({"host"} | {f"ports.{port.name}" for port in game.ports})


def _faults_of_names(game: Game) -> Iterator[Fault]:
    names = [port.name for port in game.ports]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"ports.{index}.name", f"{name} names an earlier port already; each needs its own name."
    if game.query is not None and game.query.port not in names:
        yield "query.port", f"there is no port {game.query.port}; there are {', '.join(names)}."


def _faults_of_variables(game: Game) -> Iterator[Fault]:
    for variable in game.variables:
        at = f"variables.{variable.name}"
        if variable.pattern is not None and (fault := _fault_of_regex(variable.pattern)) is not None:
            yield f"{at}.pattern", fault
        elif (complaint := find_fault(variable, variable.default)) is not None:
            yield f"{at}.default", complaint


def _templates(game: Game) -> Iterator[tuple[str, str]]:
    for index, argument in enumerate(game.start.arguments):
        yield f"start.arguments.{index}", argument
    for name, value in game.start.environment.items():
        yield f"start.environment.{name}", value
    for index, path in enumerate(game.start.requires):
        yield f"start.requires.{index}", path
    if game.console.log_file is not None:
        yield "console.log_file", game.console.log_file
    for file in game.files:
        for key, entry in file.values.items():
            if isinstance(entry, str):
                yield f'files."{file.name}".values."{key}"', entry


def _faults_of_templates(game: Game) -> Iterator[Fault]:
    allowed = placeholder_names(game)
    for at, template in _templates(game):
        yield from _faults_of_template(at, template, allowed)
    yield from _faults_of_template("connect", game.connect, connect_names(game))
    yield from _faults_of_home(game)


def _faults_of_home(game: Game) -> Iterator[Fault]:
    home, at = game.world.home, "world.home"
    variables = {f"variables.{variable.name}": variable for variable in game.variables}
    yield from _faults_of_template(at, home, frozenset(variables))
    if home.startswith("/") or ".." in PurePosixPath(home).parts:
        yield at, "must be a folder below the world, as a relative path."
    if any(f"{{{{{name}}}}}" in home and variable.kind is VariableKind.STRING for name, variable in variables.items()):
        yield at, "may use no variable that is free text: it could lead elsewhere."
    if home and not game.world.markers:
        yield at, "belongs to the markers; there are none."


def _faults_of_template(at: str, template: str, allowed: frozenset[str]) -> Iterator[Fault]:
    try:
        names = find_placeholders(template)
    except ValueError as error:
        yield at, f"{error}."
        return
    for name in names:
        if name not in allowed:
            yield at, f"{{{{{name}}}}} is not known here; known are {', '.join(sorted(allowed))}."


def _faults_of_arguments(game: Game) -> Iterator[Fault]:
    """An owner's text at the beginning of an argument could make it an option ("-exec"): refused for every game,
    so that no value has to be."""
    for index, argument in enumerate(game.start.arguments):
        name = leading_placeholder(argument)
        if name is not None and _may_begin_with_anything(game, name):
            yield (
                f"start.arguments.{index}",
                f"an argument may not begin with the owner's text {{{{{name}}}}}, which could make it an option; "
                "write it into a configuration file, or put fixed text before it.",
            )


def _may_begin_with_anything(game: Game, name: str) -> bool:
    if name == "server.name":
        return True
    variable = game.variable(name.removeprefix("variables.")) if name.startswith("variables.") else None
    return variable is not None and _is_free(variable)


def _is_free(variable: Variable) -> bool:
    is_negative = variable.kind is VariableKind.INTEGER and (variable.minimum is None or variable.minimum < 0)
    return variable.kind is VariableKind.STRING or is_negative


def _faults_of_files(game: Game) -> Iterator[Fault]:
    for file in game.files:
        at = f'files."{file.name}"'
        if file.format is FileFormat.TEXT:
            if file.values:
                yield f"{at}.values", "a text file is copied literally; give text, or another format."
            continue
        if file.text:
            yield f"{at}.text", f"only a text file has text; a {file.format} file has values."
        for key in file.values:
            if (fault := _fault_of_key(file.format, key, file.values.keys())) is not None:
                yield f'{at}.values."{key}"', fault


def _fault_of_key(file_format: FileFormat, key: str, keys: object) -> str | None:
    steps = key.split(".")
    if file_format is FileFormat.INI and (len(steps) != 2 or not all(steps)):
        return "a key of an ini file is section.key."
    if file_format is FileFormat.JSON:
        if not all(steps):
            return "a key of a json file is names separated by single dots."
        parents = {".".join(steps[:length]) for length in range(1, len(steps))}
        taken = parents.intersection(keys) if isinstance(keys, type({}.keys())) else parents
        if taken:
            return f"{min(taken)} is a value already and cannot hold others."
    return None


def _faults_of_patterns(game: Game) -> Iterator[Fault]:
    lines = {"ready.line": game.ready.line, "stop.saved": game.stop.saved, "save.proof": game.saving.proof}
    if game.roster is not None:
        lines |= {"roster.joins": game.roster.joins, "roster.leaves": game.roster.leaves}
    for at, pattern in lines.items():
        if pattern is None:
            continue
        if (fault := _fault_of_regex(pattern)) is not None:
            yield at, fault
        elif at.startswith("roster.") and "name" not in re.compile(pattern).groupindex:
            yield at, "needs a group that catches the player: (?P<name>…)."


def _fault_of_regex(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"is not a regular expression of Python's: {error}."
    return None


def _faults_of_announce(game: Game) -> Iterator[Fault]:
    announce = game.console.announce
    if announce is None:
        return
    if not game.console.accepts_commands:
        yield "console.announce", "the console accepts no commands."
    if (odd := find_odd_character(announce)) is not None:
        yield "console.announce", f"must be one line without control characters; it holds {odd}."
    try:
        names = find_placeholders(announce)
    except ValueError as error:
        yield "console.announce", f"{error}."
        return
    if names != ("text",):
        yield "console.announce", "needs {{text}} exactly once, and no other placeholder."
    elif announce.startswith("{{"):
        yield "console.announce", "must begin with the command; the text alone would be one."


def _faults_of_lines(game: Game) -> Iterator[Fault]:
    if game.stop.command is not None and not game.console.accepts_commands:
        yield "stop.commands", "the console accepts no commands; use a signal."
    yield from _faults_of_announce(game)
    yield from _faults_of_saving(game)
    log_file = game.console.log_file
    if log_file is not None and (not log_file.startswith("{{world}}/") or ".." in PurePosixPath(log_file).parts):
        yield "console.log_file", "must be below the world: {{world}}/NAME."
    for index, path in enumerate(game.start.requires):
        if not path.startswith(("/", "{{programs}}/", "{{config}}/")):
            yield f"start.requires.{index}", "must be absolute, or begin with {{programs}}/ or {{config}}/."


def _faults_of_saving(game: Game) -> Iterator[Fault]:
    saving = game.saving
    if saving.before and not game.console.accepts_commands:
        yield "save.before", "the console accepts no commands."
    if bool(saving.before) != (saving.proof is not None):
        yield "save.proof", "belongs to the commands in before: without a proof nobody knows when the world is written."
    if saving.after and not saving.before:
        yield "save.after", "undoes the commands in before; there are none."
    for name, commands in (("before", saving.before), ("after", saving.after)):
        for index, command in enumerate(commands):
            if not command.isprintable():
                yield f"save.{name}.{index}", "must be one line without control characters."
    for index, pattern in enumerate(saving.sqlite):
        if pattern.startswith("/") or ".." in PurePosixPath(pattern).parts:
            yield f"save.sqlite.{index}", "must be a path below the world."
