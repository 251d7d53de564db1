"""A parsed game file as the domain's Game. Pure; nothing is checked here (see ``checks``)."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

from overworld.domain.games import (
    ConfigFile,
    Console,
    Game,
    Memory,
    Port,
    Query,
    Ready,
    Roster,
    Saving,
    Start,
    Stop,
    Variable,
    VariableKind,
    WorldLayout,
)
from overworld.games.schema import (
    ChoiceVariable,
    GameFile,
    IntegerVariable,
    StringVariable,
    VariablePart,
)


def to_game(slug: str, file: GameFile) -> Game:
    """The game; its revision is a hash of everything in the file but comments and layout."""
    return Game(
        slug=slug,
        title=file.title,
        description=file.description,
        revision=_revision(file),
        ports=tuple(Port(port.name, port.protocol, port.default) for port in file.ports),
        variables=tuple(_variable(name, part) for name, part in file.variables.items()),
        files=tuple(ConfigFile(name, part.format, dict(part.values), part.text) for name, part in file.files.items()),
        start=Start(
            programs=tuple(file.start.programs),
            arguments=tuple(file.start.arguments),
            environment=dict(file.start.environment),
            install=file.start.install,
            requires=tuple(file.start.requires),
        ),
        stop=Stop(
            command="\n".join(file.stop.commands) or None,
            signal=file.stop.signal,
            grace=timedelta(seconds=file.stop.grace_seconds),
            saved=file.stop.saved,
        ),
        ready=Ready(file.ready.line, timedelta(seconds=file.ready.within_seconds)),
        console=Console(file.console.accepts_commands, file.console.log_file),
        query=Query(file.query.protocol, file.query.port) if file.query else None,
        roster=Roster(file.roster.joins, file.roster.leaves) if file.roster else None,
        world=WorldLayout(tuple(file.world.exclude), tuple(file.world.markers), file.world.home),
        memory=Memory(file.memory.minimum_mib, file.memory.default_mib),
        connect=file.connect,
        saving=Saving(
            before=tuple(file.save.before),
            after=tuple(file.save.after),
            proof=file.save.proof,
            within=timedelta(seconds=file.save.within_seconds),
            sqlite=tuple(file.save.sqlite),
            drill=file.save.drill,
        ),
    )


def _variable(name: str, part: VariablePart) -> Variable:
    kind, description = VariableKind(part.kind), part.description
    match part:
        case StringVariable():
            return Variable(name, kind, description, part.default, max_length=part.max_length, pattern=part.pattern)
        case IntegerVariable():
            return Variable(name, kind, description, part.default, minimum=part.minimum, maximum=part.maximum)
        case ChoiceVariable():
            return Variable(name, kind, description, part.default, choices=tuple(part.choices))
        case _:
            return Variable(name, kind, description, part.default)


def _revision(file: GameFile) -> str:
    content = json.dumps(file.model_dump(mode="json"), sort_keys=False)
    return hashlib.sha256(content.encode()).hexdigest()[:12]
