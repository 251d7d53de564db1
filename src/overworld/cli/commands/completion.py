"""Completion scripts, as click writes them."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from overworld.cli.errors import BadUsage


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: overworld completion bash > ~/.local/share/bash-completion/completions/overworld
    zsh:  overworld completion zsh > a folder of $fpath, as _overworld
    fish: overworld completion fish > ~/.config/fish/completions/overworld.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise BadUsage(f"There is no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "overworld", "_OVERWORLD_COMPLETE").source())
