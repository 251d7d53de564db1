"""One line of a game's output, printed."""

from __future__ import annotations

import json
import os
import sys

from overworld.cli.api import Json
from overworld.cli.safe_text import keep_colours, strip_controls
from overworld.cli.times import show_time


def print_log_line(line: Json, *, timestamps: bool = False, as_json: bool = False) -> None:
    """``line`` ({id, at, text}) on standard output at once, without anything that a terminal would act upon but
    colours, and these only on a terminal that is to show them."""
    if as_json:
        text = json.dumps(line)
    else:
        text = keep_colours(line["text"]) if shows_colours() else strip_controls(line["text"])
        if timestamps:
            text = f"{show_time(line['at'])}  {text}"
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def shows_colours() -> bool:
    """Whether standard output is a terminal that is to show colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
