"""The ``overworld`` program: the CLI (which speaks HTTP only) plus the commands that run Overworld itself."""

from __future__ import annotations

import sys


def main() -> None:
    """Run one command and exit with its documented status (docs/cli.md)."""
    if sys.argv[1:2] == ["web"]:
        # Before any other import: psycopg chooses how it waits when it is imported.
        from gevent import monkey

        monkey.patch_all()
    from overworld.cli.main import build_cli
    from overworld.commands import COMMANDS, local_checks

    build_cli(extra_commands=COMMANDS, extra_checks=local_checks)()


if __name__ == "__main__":
    main()
