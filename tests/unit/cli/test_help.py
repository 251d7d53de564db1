"""Help, completion and docs/cli.md agree with the commands; help is quick."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from overworld.cli import errors
from overworld.cli.main import COMMANDS, build_cli
from overworld.commands import COMMANDS as RUNNING
from overworld.upkeep import COMMANDS as UPKEEP
from unit.cli.conftest import Run
from unit.cli.stage import Stage, page, server

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"
EXTRA_COMMANDS = (*RUNNING, *UPKEEP)
SLOW = {"httpx", "rich", "prompt_toolkit", "pydantic", "sqlalchemy", "flask"}


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its words."""
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                found = command.get_command(ctx, name)
                assert found is not None
                yield from walk(found, (*path, name))
    else:
        yield path, command


def test_help_imports_nothing_slow() -> None:
    """``overworld --help`` loads no HTTP client, no tables, no line editor, no database."""
    code = (
        "import runpy, sys\nsys.argv = ['overworld', '--help']\n"
        "try: runpy.run_module('overworld', run_name='__main__')\nexcept SystemExit: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "create" in loaded
    assert not SLOW & set(loaded.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_help_is_the_commands_own(name: str) -> None:
    """The line that is shown without importing the command is the first one of its own help."""
    command = COMMANDS[name].load()
    assert command.name == name
    assert (command.help or "").split("\n\n")[0].split("\n")[0] == COMMANDS[name].help


def test_the_document_lists_every_command_with_its_options() -> None:
    """docs/cli.md has a section for each command, and names each of its options; and for no other."""
    sections = dict(re.findall(r"^### `overworld ([^`]+?)`\n(.*?)(?=^##|\Z)", DOCUMENT.read_text(), re.M | re.S))
    commands = {" ".join(path): command for path, command in walk(build_cli(EXTRA_COMMANDS))}
    named = {re.split(r" [A-Z\[]", title)[0]: text for title, text in sections.items()}
    assert set(named) == set(commands)
    for words, command in commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden and parameter.name != "help":
                for option in (*parameter.opts, *parameter.secondary_opts):
                    if option.startswith("--") and option != "--output":
                        assert f"`{option}" in named[words], f"{words} {option}"


def test_the_document_lists_every_exit_status() -> None:
    """Each failure's status has its row, and there is no row without one."""
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(), re.M)}
    statuses = {kind.exit_code for kind in errors.CliError.__subclasses__()}
    assert rows == {0} | statuses


def test_every_option_and_command_is_explained() -> None:
    """No option without a help text, no command without a sentence."""
    for path, command in walk(build_cli()):
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    """The script calls the program back under the right name."""
    assert "_OVERWORLD_COMPLETE" in run("completion", shell).stdout


def test_commands_and_servers_are_completed(stage: Stage, run: Run) -> None:
    """Commands by name; servers by what the API lists, leaving out names that a shell could trip over."""
    names = ["meadow", "mea'; rm -rf", "other"]
    stage.lay("GET", "/servers", page(*(server(name=name) for name in names)))
    env = {"_OVERWORLD_COMPLETE": "bash_complete", "COMP_CWORD": "1", "COMP_WORDS": "overworld st"}
    assert run(env=env).stdout.split() == ["plain,start", "plain,stop"]
    env = {"_OVERWORLD_COMPLETE": "bash_complete", "COMP_CWORD": "2", "COMP_WORDS": "overworld stop me"}
    assert run(env=env).stdout.split() == ["plain,meadow"]
    assert run(env={**env, "OVERWORLD_URL": "http://127.0.0.1:9"}).stdout.strip() == ""
