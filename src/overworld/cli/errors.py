"""Every way in which a command fails, each with its exit status.

CliError
├── Refused          1    the server said no, or the operation failed
├── BadUsage         2    the command line cannot work as given (click's own usage errors too)
├── NotFound         3
├── NotAllowed       4    no token, a bad one, or not allowed
├── Unreachable      5    no connection, or a part of Overworld does not answer
├── TimedOut         6    ``--timeout`` passed; the work goes on
└── Interrupted    130    Ctrl-C
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any, ClassVar

import click

from overworld.cli.safe_text import strip_controls

AS_JSON = "overworld.cli.as_json"
"""Key of ``Context.meta``, shared by all contexts of a run: whether failures are printed as JSON too."""


class CliError(click.ClickException):
    """One failure, printed as title, detail, each error with its place, and what to do.

    Every text is made safe for terminals when it is shown. ``document`` is the API's own problem document, printed
    instead where JSON was asked for.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        title: str,
        detail: str = "",
        *,
        errors: Sequence[tuple[str, str]] = (),
        mend: str = "",
        document: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.mend = mend
        self.document = document
        self.as_json = False

    @property
    def slug(self) -> str:
        """The last word of the problem's type; empty for failures that the API did not report."""
        return str((self.document or {}).get("type", "")).rpartition("/")[2]

    def show(self, file: IO[Any] | None = None) -> None:
        """Print to ``file`` (standard error)."""
        click.echo(self.render_json() if self.as_json else self.render(), file=file or sys.stderr)

    def render(self) -> str:
        """The failure for people."""
        lines = [f"Error: {strip_controls(self.title)}"]
        if self.detail and self.detail != self.title:
            lines += [f"  {strip_controls(line)}" for line in self.detail.splitlines()]
        lines += [
            f"  {strip_controls(at)}: {strip_controls(says)}" if at else f"  {strip_controls(says)}"
            # The API's detail says the first error already.
            for index, (at, says) in enumerate(self.errors)
            if index > 0 or says not in self.detail
        ]
        if self.mend:
            lines.append(f"What to do: {strip_controls(self.mend)}")
        if self.document is not None and (request_id := self.document.get("request_id")):
            lines.append(f"Request: {strip_controls(str(request_id))}")
        return "\n".join(lines)

    def render_json(self) -> str:
        """The failure as a problem document."""
        document: Mapping[str, Any] = self.document or {
            "title": self.title,
            "detail": self.detail,
            "errors": [{"at": at, "says": says} for at, says in self.errors],
        }
        return json.dumps(document, indent=2)


class Refused(CliError):
    """The server said no, or the operation failed."""


class BadUsage(CliError):
    """The command line cannot work as given."""

    exit_code = 2


class NotFound(CliError):
    """There is no such thing, or this token may not see it."""

    exit_code = 3


class NotAllowed(CliError):
    """No token, a bad one, or one that may not do this."""

    exit_code = 4


class Unreachable(CliError):
    """No connection, or a part of Overworld does not answer."""

    exit_code = 5


class TimedOut(CliError):
    """The given time passed; the work goes on."""

    exit_code = 6


class Interrupted(CliError):
    """Ctrl-C while something was under way that goes on."""

    exit_code = 130
