"""Text of others made safe for a terminal. Names, messages and game output are hostile until they went through here."""

from __future__ import annotations

import re

_TOKENS = re.compile(
    r"(?:\x1b\[|\x9b)(?P<csi>[0-?]*)[ -/]*(?P<final>[@-~])"  # control sequences, colours among them
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, clipboard
    r"|\x1b[ -/]*[0-~]?"  # every other escape
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"  # control characters, lone surrogates
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # what reverses the order in which text is read
)
_RESET = "\x1b[0m"
_PLAIN = frozenset({0, 1, 2, 3, 4, 7, 22, 23, 24, 27, 39, 49, *range(30, 38), *range(40, 48), *range(90, 108)})


def strip_controls(text: str) -> str:
    """``text`` as one line without any character that a terminal would act upon. Tabs become a space."""
    return _TOKENS.sub(_drop, text).replace("\t", " ")


def keep_colours(text: str) -> str:
    """The same, but colours, bold, dim, italic, underline and reverse stay, and end with the line.

    Concealed and blinking text do not stay: they exist to mislead.
    """
    kept = _TOKENS.sub(_keep_colour, text).replace("\t", "    ")
    return kept + _RESET if "\x1b" in kept else kept


def _drop(match: re.Match[str]) -> str:
    return " " if match[0] in "\n\r\u2028\u2029" else ""


def _keep_colour(match: re.Match[str]) -> str:
    if match["final"] != "m":
        return _drop(match)
    if re.fullmatch(r"[0-9;:]{0,60}", match["csi"]) is None:
        return ""
    parameters = _readable(match["csi"])
    return f"\x1b[{';'.join(map(str, parameters))}m" if parameters else ""


def _readable(csi: str) -> list[int]:
    numbers = [int(part or 0) for part in re.split(r"[;:]", csi)]
    kept: list[int] = []
    while numbers:
        number = numbers.pop(0)
        if number in {38, 48}:  # 38;5;n and 38;2;r;g;b
            length = {5: 2, 2: 4}.get(numbers[0] if numbers else -1, 0)
            colour, numbers = numbers[:length], numbers[length:]
            if length and len(colour) == length and all(part <= 255 for part in colour):
                kept += [number, *colour]
        elif number in _PLAIN:
            kept.append(number)
    return kept
