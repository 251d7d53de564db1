"""Templates: text with ``{{name}}`` placeholders, substituted once. A value is never read again, nothing is executed.

There is no expression, filter, include or escape: a placeholder is two braces, a dotted lower-case name and two
braces, and every other pair of braces in a template is an error found when the catalogue is loaded. Values may hold
any text, ``{{`` included: they are copied, not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{\{([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)\}\}")


def find_placeholders(template: str) -> tuple[str, ...]:
    """The names in a template, in order of appearance.

    Raises ValueError, with the offending text, for braces that are no placeholder.
    """
    rest = _PLACEHOLDER.sub("", template)
    for braces in ("{{", "}}"):
        if (at := rest.find(braces)) >= 0:
            raise ValueError(
                f"{rest[max(0, at - 10) : at + 20]!r} is not a placeholder; write {{{{name}}}} without spaces, "
                "for example {{ports.game}}"
            )
    return tuple(_PLACEHOLDER.findall(template))


def sole_placeholder(template: str) -> str | None:
    """The name, if the template is one placeholder and nothing else."""
    match = _PLACEHOLDER.fullmatch(template)
    return match[1] if match else None


def leading_placeholder(template: str) -> str | None:
    """The name, if the template begins with a placeholder: then its value decides how the text begins."""
    match = _PLACEHOLDER.match(template)
    return match[1] if match else None


def substitute(template: str, values: Mapping[str, str]) -> str:
    """The template with every placeholder replaced by its value, in one pass. Raises KeyError for an unknown name."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)
