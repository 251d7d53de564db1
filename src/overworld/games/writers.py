"""Configuration files in the game's own format: no value can end its line, its quotes or its document.

Values arrive as ``Value`` and are one line (``text.one_line`` is applied here again, whatever came before). What a
format cannot express at all is replaced by the nearest that it can; each writer says what.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from overworld.domain.games import FileFormat, Value
from overworld.games.text import one_line

Values = Mapping[str, Value]


def write_file(file_format: FileFormat, values: Values) -> str:
    """The content of a file of that format, in the order of ``values``; ends with a line feed. Not for TEXT."""
    return _WRITERS[file_format](values)


def as_text(value: Value) -> str:
    """The value as one line of text; booleans are ``true`` and ``false``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return one_line(str(value))


def _write_luanti(values: Values) -> str:
    """Luanti's settings: ``key = value``, surrounding spaces dropped. A lone ``{`` would open a group, so it is
    written as a block; a lone ``\"\"\"`` would open a block and cannot be written at all: it becomes ``\"\"``."""
    lines = []
    for key, value in values.items():
        text = as_text(value).strip()
        if text == '"""':
            text = '""'
        lines.append(f'{key} = """\n{text}\n"""' if text == "{" else f"{key} = {text}")
    return "".join(f"{line}\n" for line in lines)


_QUAKE_UNWRITABLE = str.maketrans({'"': "'", "\\": "/", ";": ","})


def _write_quake(values: Values) -> str:
    """Quake 3: ``seta key "value"``. There is no escape: ``"``, ``\\`` and ``;``, which its network strings cannot
    hold either, become ``'``, ``/`` and ``,``. Booleans are 1 and 0."""
    lines = []
    for key, value in values.items():
        text = str(int(value)) if isinstance(value, bool) else as_text(value).translate(_QUAKE_UNWRITABLE)
        lines.append(f'seta {key} "{text}"\n')
    return "".join(lines)


def _write_ini(values: Values) -> str:
    """INI as OpenTTD reads it: a key is ``section.key``; one pair of quotes around a value belongs to the file."""
    sections: dict[str, list[str]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        text = as_text(value)
        needs_quotes = text != text.strip() or text.startswith('"') or text.endswith('"')
        sections.setdefault(section, []).append(f'{name} = "{text}"\n' if needs_quotes else f"{name} = {text}\n")
    return "\n".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items())


_PROPERTIES_ESCAPES = str.maketrans({character: f"\\{character}" for character in "\\:=#! "})


def _write_properties(values: Values) -> str:
    """Java properties: separators, comment signs and spaces escaped, everything outside ASCII as UTF-16 escapes."""
    return "".join(f"{key}={_escape_property(as_text(value))}\n" for key, value in values.items())


def _escape_property(text: str) -> str:
    escaped = text.translate(_PROPERTIES_ESCAPES)
    return "".join(character if character.isascii() else _utf16_escapes(character) for character in escaped)


def _utf16_escapes(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _write_json(values: Values) -> str:
    """JSON: a key with dots is a path into nested objects; numbers and booleans keep their type."""
    document: dict[str, object] = {}
    for key, value in values.items():
        *path, name = key.split(".")
        place = document
        for step in path:
            inner = place.setdefault(step, {})
            assert isinstance(inner, dict), "the schema refuses a key that is both a value and an object"
            place = inner
        place[name] = one_line(value) if isinstance(value, str) else value
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_WRITERS: dict[FileFormat, Callable[[Values], str]] = {
    FileFormat.LUANTI: _write_luanti,
    FileFormat.QUAKE: _write_quake,
    FileFormat.INI: _write_ini,
    FileFormat.PROPERTIES: _write_properties,
    FileFormat.JSON: _write_json,
}
