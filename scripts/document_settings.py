"""Write overworld.settings into docs/configuration.md and the chart's schema; ``--check`` only compares (1: differs).

``make format`` runs it, and a test checks it: a setting cannot be added without its line in the documentation, nor be
misspelt in the chart's ``settings``.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import get_args

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from overworld.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
CHART = ROOT / "deploy" / "helm" / "overworld"
SCHEMA = CHART / "values.schema.json"
BEGIN, END = "<!-- settings: written by make format -->", "<!-- end of settings -->"
COMPUTED_DEFAULTS = {"data_folder": "`/var/lib/overworld` as root, else `~/.local/share/overworld`"}


def main(arguments: list[str]) -> int:
    """Write page and schema, or say whether they are up to date."""
    new = {PAGE: render_page(PAGE.read_text(encoding="utf-8")), SCHEMA: render_schema(SCHEMA.read_text("utf-8"))}
    if arguments == ["--check"]:
        return 0 if all(path.read_text(encoding="utf-8") == text for path, text in new.items()) else 1
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")
    return 0


def render_page(old: str) -> str:
    """The page with its table as it should be."""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{render()}\n{END}{after}"


def render_schema(old: str) -> str:
    """The schema with the settings that the chart does not choose itself."""
    chosen = set(re.findall(r"OVERWORLD_([A-Z_]+)", "".join(map(Path.read_text, CHART.glob("templates/*")))))
    names = [name for name in Settings.model_fields if name.upper() not in chosen]
    return re.sub(r'"propertyNames": \{"enum": \[.*?\]\}', f'"propertyNames": {{"enum": {json.dumps(names)}}}', old)


def render() -> str:
    """A Markdown table of every setting, in the order of the class."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        meaning = " ".join(part for part in (field.description, choices(field), bounds(field)) if part)
        lines.append(f"| `OVERWORLD_{name.upper()}` | {default(name, field)} | {meaning} |")
    return "\n".join(lines)


def default(name: str, field: FieldInfo) -> str:
    """The default as it would be written into the environment."""
    if name in COMPUTED_DEFAULTS:
        return COMPUTED_DEFAULTS[name]
    value = field.get_default()
    if value is None or value == () or value is PydanticUndefined:
        return "unset"
    return f"`{as_text(value)}`"


def choices(field: FieldInfo) -> str:
    """The only values of a choice, or nothing."""
    words = [word for word in get_args(field.annotation) if isinstance(word, str)]
    return f"One of {', '.join(f'`{word}`' for word in words)}." if words else ""


def bounds(field: FieldInfo) -> str:
    """The least and greatest value, or nothing."""
    least = [f"at least {as_text(bound.ge)}" for bound in field.metadata if isinstance(bound, Ge)]
    most = [f"at most {as_text(bound.le)}" for bound in field.metadata if isinstance(bound, Le)]
    return f"{', '.join(least + most).capitalize()}." if least or most else ""


def as_text(value: object) -> str:
    """A value in words that the environment accepts: durations in whole seconds."""
    return f"{value.total_seconds():.0f}" if isinstance(value, timedelta) else str(value)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
