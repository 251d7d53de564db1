"""What is wrong with an installation, and how to mend it."""

from __future__ import annotations

from contextlib import ExitStack

import click

from overworld.cli.api_checks import api_checks
from overworld.cli.doctor import Severity, gather_checks, run_checks
from overworld.cli.main import EXTRA_CHECKS
from overworld.cli.session import Session, output_option, pass_session
from overworld.cli.ui import Column, print_json, print_line, print_table


@click.command()
@output_option
@click.pass_context
@pass_session
def doctor(session: Session, ctx: click.Context) -> None:
    """Say what is wrong with an installation, and how to mend it.

    Looks at the API that the other commands would speak to, and at this machine. Changes nothing. Exit status 1 if
    something is bad.
    """
    with ExitStack() as stack:
        checks = [
            *gather_checks("configuration", lambda: api_checks(stack)),
            *gather_checks("this machine", ctx.meta[EXTRA_CHECKS]),
        ]
        findings = run_checks(checks)
    is_bad = any(finding.severity is Severity.BAD for _, finding in findings)
    if session.as_json:
        print_json(
            {
                "items": [
                    {"check": name, "severity": finding.severity, "says": finding.says, "mend": finding.mend}
                    for name, finding in findings
                ]
            }
        )
    else:
        print_table(
            [Column("CHECK"), Column("IS", coloured=True), Column("FINDING", wrap=True)],
            [[name, finding.severity, finding.says] for name, finding in findings],
            empty="Nothing to check.",
        )
        for name, finding in findings:
            if finding.mend and finding.severity is not Severity.OK:
                print_line(f"What to do about {name}: {finding.mend}")
    ctx.exit(1 if is_bad else 0)
