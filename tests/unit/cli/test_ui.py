"""Tables at a terminal: coloured, and fitted to its width."""

from __future__ import annotations

import re

import pytest

from unit.cli.stage import Reply, Stage, operation, page, server
from unit.cli.terminal import run_at_terminal

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        (120, ["NAME", "STATE", "GAME", "PLAYERS", "ADDRESS", "OWNER", "ID"]),
        (70, ["NAME", "STATE", "GAME", "PLAYERS", "ADDRESS"]),
        (24, ["NAME", "STATE"]),
    ],
)
def test_a_narrow_terminal_loses_the_least_needed_columns(
    stage: Stage, environment: dict[str, str | None], columns: int, titles: list[str]
) -> None:
    """No line is longer than the terminal is wide; name and state always stay."""
    stage.lay("GET", "/servers", page(server(), server(name="a" * 18, state="failed")))
    with run_at_terminal("list", env=environment, columns=columns) as terminal:
        assert terminal.wait_for_end() == 0
        lines = SEQUENCE.sub("", terminal.screen).splitlines()
    assert lines[0].split() == titles
    assert max(map(len, lines)) <= columns
    assert "failed" in lines[2]


@pytest.mark.parametrize("columns", [40, 80])
def test_what_to_do_is_never_cut(stage: Stage, environment: dict[str, str | None], columns: int) -> None:
    """A condition's sentence goes on in the next lines, below its beginning, however narrow the terminal is."""
    says = "The game needs node_modules and that is not here. Install Node 20 or newer, then npm install flying-squid."
    failed = server(
        state="failed", conditions=[{"type": "Placed", "status": "False", "reason": "ProgramMissing", "message": says}]
    )
    failed["conditions"][0]["since"] = failed["created_at"]
    stage.lay("GET", "/servers/bcdfghjkmnpq", Reply(failed))
    with run_at_terminal("show", "bcdfghjkmnpq", env=environment, columns=columns) as terminal:
        assert terminal.wait_for_end() == 0
        table = SEQUENCE.sub("", terminal.screen).split("Conditions")[1].splitlines()[1:]
    begin = table[0].index("MESSAGE")
    assert " ".join(line[begin:].strip() for line in table[1:]) == says
    assert max(map(len, table)) <= columns


def test_states_are_coloured_unless_colours_are_unwanted(stage: Stage, environment: dict[str, str | None]) -> None:
    """A failed server stands out; NO_COLOR takes every colour away."""
    stage.lay("GET", "/servers", page(server(state="failed")))
    with run_at_terminal("list", env=environment) as terminal:
        assert terminal.wait_for_end() == 0
        assert "\x1b[1;31mfailed" in terminal.screen
    with run_at_terminal("list", env={**environment, "NO_COLOR": "1"}) as terminal:
        assert terminal.wait_for_end() == 0
        assert "31m" not in terminal.screen


def test_progress_at_a_terminal_is_one_line_that_changes(stage: Stage, environment: dict[str, str | None]) -> None:
    """A spinner says what is being waited for, and leaves nothing behind."""
    stage.lay("GET", "/servers", page(server()))
    stage.lay("POST", "/servers/bcdfghjkmnpq/stop", Reply(operation("stop"), 202))
    stage.lay(
        "GET",
        "/operations/opbcdfghjkmn",
        *[Reply(operation("stop"))] * 4,
        Reply(operation("stop", "succeeded", message="The save was seen.")),
    )
    with run_at_terminal("stop", "meadow", env=environment) as terminal:
        assert terminal.wait_for_end() == 0
        assert "stop 2/4: Copying the world." in terminal.screen
        assert SEQUENCE.sub("", terminal.screen).splitlines()[-1] == "meadow: stop succeeded. The save was seen."
