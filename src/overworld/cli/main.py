"""The ``overworld`` command group. A command's module is imported when that command runs, so that help is quick."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from overworld.cli.errors import AS_JSON, CliError

if TYPE_CHECKING:
    from overworld.cli.doctor import Check

EXTRA_CHECKS = "overworld.cli.extra_checks"
"""Key of ``Context.meta``: the function that makes the checks handed in for ``overworld doctor``."""


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is found (``module:attribute``), and the line that stands for it in the help."""

    target: str
    help: str

    def load(self) -> click.Command:
        """The command itself."""
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(importlib.import_module(f"overworld.cli.commands.{module}"), attribute)
        return command


COMMANDS: Mapping[str, LazyCommand] = {
    "create": LazyCommand("servers:create", "Make a server of a game."),
    "list": LazyCommand("servers:list_servers", "List the servers that you may see."),
    "show": LazyCommand("servers:show", "Show everything about one server."),
    "edit": LazyCommand("servers:edit", "Change a server's name, memory or variables, or let its disk grow."),
    "config": LazyCommand("configuration:config", "Look through the revisions of a server's configuration."),
    "start": LazyCommand("lifecycle:start", "Start a server."),
    "stop": LazyCommand("lifecycle:stop", "Stop a server, its world saved."),
    "restart": LazyCommand("lifecycle:restart", "Stop a server and start it again."),
    "delete": LazyCommand("lifecycle:delete", "Delete a server; its world is kept until retention has passed."),
    "undelete": LazyCommand("lifecycle:undelete", "Take a deletion back."),
    "save": LazyCommand("saves:save", "Save a server's world."),
    "saves": LazyCommand("saves:saves", "Look after saves."),
    "restore": LazyCommand("saves:restore", "Restore a save into its server, or undo that."),
    "clone": LazyCommand("saves:clone", "Make a new server of a save."),
    "wait": LazyCommand("wait:wait", "Wait for an operation, or for a server to reach a state."),
    "logs": LazyCommand("console:logs", "Show what a server printed."),
    "console": LazyCommand("console:console", "Watch a server's console and send it commands."),
    "files": LazyCommand("files:files", "Look after the files of a server's world."),
    "games": LazyCommand("games:games", "List the games, or show one with its variables."),
    "events": LazyCommand("events:events", "Show what happened, to one server or to all."),
    "operations": LazyCommand("operations:operations", "List what was asked for and how it ended."),
    "cancel": LazyCommand("operations:cancel", "Call off an operation that has not ended."),
    "usage": LazyCommand("usage:usage", "Show hours run and played, by server."),
    "addresses": LazyCommand("addresses:addresses", "List the public addresses of all servers (admins only)."),
    "accounts": LazyCommand("accounts:accounts", "Look after accounts."),
    "nodes": LazyCommand("nodes:nodes", "List the nodes of the cluster that carry games."),
    "node": LazyCommand("nodes:node", "Look at one node, or say what became of it."),
    "token": LazyCommand("token:token", "Look after API tokens."),
    "login": LazyCommand("login:login", "Keep the address of an Overworld and a token for it."),
    "doctor": LazyCommand("doctor:doctor", "Say what is wrong with an installation, and how to mend it."),
    "completion": LazyCommand("completion:completion", "Print the completion script of a shell."),
}


class OverworldGroup(click.Group):
    """The group: lazy commands, failures in the form that was asked for, and 130 for Ctrl-C."""

    def __init__(self, extra_commands: Iterable[click.Command], extra_checks: Callable[[], Iterable[Check]]) -> None:
        super().__init__(
            name="overworld",
            help="Game servers of your own: a server in seconds, a world that is never lost.",
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        )
        self._extra_checks = extra_checks
        for command in extra_commands:
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which people need them; the handed-in ones last."""
        return [*COMMANDS, *(name for name in self.commands if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, its module imported now."""
        lazy = COMMANDS.get(cmd_name)
        return lazy.load() if lazy is not None else super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, written without importing any of them."""
        rows = [
            (name, COMMANDS[name].help if name in COMMANDS else self.commands[name].get_short_help_str(limit=200))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands, without importing any of them, and options."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [*map(CompletionItem, names), *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interruption ends with 130, wherever it comes."""
        ctx.meta[EXTRA_CHECKS] = self._extra_checks
        try:
            return super().invoke(ctx)
        except CliError as error:
            error.as_json = ctx.meta.get(AS_JSON, False)
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(130) from None


def build_cli(
    extra_commands: Iterable[click.Command] = (), extra_checks: Callable[[], Iterable[Check]] = tuple
) -> click.Group:
    """The whole program: the commands of this package (HTTP only) and the ones handed in. ``extra_checks`` is called
    only when ``overworld doctor`` runs."""
    group = OverworldGroup(extra_commands, extra_checks)
    click.version_option(package_name="overworld", prog_name="overworld")(group)
    return group
