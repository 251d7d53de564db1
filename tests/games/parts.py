"""The scripted games (actor.py, journal.py, diary.py) as launches and as catalogue entries.

``python tests/games/parts.py`` writes catalogue/*.toml anew; a test sees to it that they are what the scripts say.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from overworld.domain.games import Ready, Roster, Stop
from overworld.domain.observed import Launch, Layout

HERE = Path(__file__).parent
CATALOGUE = HERE / "catalogue"
ACTOR = HERE / "actor.py"
JOURNAL = HERE / "journal.py"
DIARY = HERE / "diary.py"

# Not this test's own interpreter: games run as users that may not be able to reach it.
PROGRAMS = ("/usr/bin/python3",)
READY_LINE = "^ready to play"
SAVED_LINE = "^world saved$"
ROSTER = Roster(joins=r"^(?P<name>\w+) joins$", leaves=r"^(?P<name>\w+) leaves$")

SAVE = """
[world]
exclude = ["saving-is-off"]

[save]
before = ["save-off", "save-all"]
proof = '^Saved the game$'
after = ["save-on"]
within_seconds = 5
drill = true
"""

PARTS = {
    "good": (),
    "needs-long": ("3",),
    "never-ready": (),
    "dies-at-once": (),
    "ignores-stop": (),
    "floods": (),
    "memory-hog": (),
    "logs-to-file": (),
    "ticks": (),
    "leaves-child": (),
}
"""Every part of actor.py and its further arguments."""


def launch_of(
    part: str,
    layout: Layout,
    *,
    arguments: tuple[str, ...] | None = None,
    command: str | None = None,
    grace: timedelta = timedelta(seconds=5),
    accepts_commands: bool = True,
    programs: tuple[str, ...] = PROGRAMS,
) -> Launch:
    """How a local engine starts that part. ``command`` is the stop command (None: SIGTERM)."""
    return Launch(
        programs=programs,
        arguments=("-I", f"{layout.config}/game.py", part, *(PARTS[part] if arguments is None else arguments)),
        environment={},
        files={"game.py": ACTOR.read_text()},
        stop=Stop(command=command, grace=grace, saved=SAVED_LINE),
        ready=Ready(READY_LINE, timedelta(seconds=2)),
        roster=ROSTER,
        accepts_commands=accepts_commands,
        log_file=f"{layout.world}/game.log" if part == "logs-to-file" else None,
        install="Scripted games need Debian's python3.",
    )


def catalogue_files() -> dict[str, str]:
    """File name to content of every catalogue entry."""
    files = {f"{part}.toml": _entry(part, ACTOR, (part, *arguments)) for part, arguments in PARTS.items()}
    return files | {"journal.toml": _entry("journal", JOURNAL, ()), "diary.toml": _entry("diary", DIARY, ()) + SAVE}


def _entry(name: str, script: Path, arguments: tuple[str, ...]) -> str:
    source = script.read_text()
    assert "'''" not in source, "the source is embedded as a literal string"
    rendered = ", ".join(f'"{argument}"' for argument in ("-I", "{{config}}/game.py", *arguments, "{{ports.game}}"))
    console = 'log_file = "{{world}}/game.log"\n' if name == "logs-to-file" else ""
    return f"""# Written by tests/games/parts.py from {script.name}.
title = "Test game: {name}"
description = "Plays a part for tests."
connect = "{{{{host}}}}:{{{{ports.game}}}}"

[[ports]]
name = "game"
protocol = "tcp"
default = 4000

[files."game.py"]
format = "text"
text = '''
{source}'''

[start]
programs = ["{PROGRAMS[0]}"]
arguments = [{rendered}]
install = "Scripted games need Debian's python3."

[stop]
grace_seconds = {2 if name == "ignores-stop" else 5}
saved = '{SAVED_LINE}'

[ready]
line = '{READY_LINE}'
within_seconds = {3 if name == "never-ready" else 20}

[console]
accepts_commands = true
announce = "say {{{{text}}}}"
{console}
[roster]
joins = '{ROSTER.joins}'
leaves = '{ROSTER.leaves}'

[memory]
minimum_mib = 32
default_mib = 64
"""


if __name__ == "__main__":
    CATALOGUE.mkdir(exist_ok=True)
    for file_name, content in catalogue_files().items():
        (CATALOGUE / file_name).write_text(content)
