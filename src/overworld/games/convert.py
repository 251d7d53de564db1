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
    """The game; its revision is a hash of everything in the file that a start depends on: no comments, no layout, and
    not what new worlds lie on."""
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
        console=Console(file.console.accepts_commands, file.console.log_file, file.console.announce),
        query=Query(file.query.protocol, file.query.port) if file.query else None,
        roster=Roster(file.roster.joins, file.roster.leaves) if file.roster else None,
        world=WorldLayout(
            exclude=tuple(file.world.exclude),
            markers=tuple(file.world.markers),
            home=file.world.home,
            storage=file.world.storage,
            disk_mib=file.world.disk_mib,
        ),
        memory=Memory(file.memory.minimum_mib, file.memory.default_mib),
        connect=file.connect,
        image=file.image or slug,
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
            return Variable(
                name,
                kind,
                description,
                part.default,
                max_length=part.max_length,
                pattern=part.pattern,
                is_secret=part.secret,
            )
        case IntegerVariable():
            return Variable(name, kind, description, part.default, minimum=part.minimum, maximum=part.maximum)
        case ChoiceVariable():
            return Variable(name, kind, description, part.default, choices=tuple(part.choices))
        case _:
            return Variable(name, kind, description, part.default)


def _revision(file: GameFile) -> str:
    # What it says, not what it leaves out: a key that a later version knows does not make every game another one. Nor
    # what it says of its world, of saving it and of secrets, for no running process has to know that.
    content = file.model_dump(
        mode="json",
        exclude_unset=True,
        exclude={"world": True, "save": True, "variables": {name: {"secret"} for name in file.variables}},
    )
    return hashlib.sha256(json.dumps(content, sort_keys=False).encode()).hexdigest()[:12]
