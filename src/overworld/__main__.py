"""The ``overworld`` program: the CLI (which speaks HTTP only) plus the commands that run Overworld itself."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run one command and exit with its documented status (docs/cli.md)."""
    # Ctrl-C while modules are imported ends it without a traceback; where it is ignored (a job of a shell) it stays so.
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["web"]:
        # Before any other import: psycopg chooses how it waits when it is imported.
        from gevent import monkey

        monkey.patch_all()
    from overworld.cli.main import build_cli
    from overworld.commands import COMMANDS, local_checks
    from overworld.upkeep import COMMANDS as UPKEEP

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    build_cli(extra_commands=(*COMMANDS, *UPKEEP), extra_checks=local_checks)()


if __name__ == "__main__":
    main()
