"""No value can end its line, its quotes or its document: written by us, read as the game reads."""

from __future__ import annotations

import configparser
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from overworld.domain.games import FileFormat, Value
from overworld.games.text import one_line
from overworld.games.writers import as_text, write_file

HOSTILE = [
    '"""',
    "{",
    "}",
    '"; quit; seta rconPassword "x',
    'x"\nname = evil',
    "\r\nname = evil",
    "a\u2028b\u0085c",
    "[section]",
    "# not a comment",
    "; not a comment",
    " spaces ",
    '"quoted"',
    'ends with "',
    "\\",
    "\\n",
    "\\u0041",
    "{{variables.b}}",
    "$(reboot)`reboot`",
    "",
    "=:= # !",
    "emoji 👩‍🚀",
]

values = st.dictionaries(
    st.sampled_from(["one.alpha", "one.beta", "two.alpha", "two.gamma"]),
    st.one_of(st.text(), st.sampled_from(HOSTILE), st.booleans(), st.integers(-(2**40), 2**40)),
    min_size=1,
)


def read_luanti(content: str) -> dict[str, str]:
    """As Luanti's Settings::parseConfigLines does: groups and blocks included."""
    lines = iter(content.split("\n"))
    read: dict[str, str] = {}
    for line in lines:
        text = line.strip(" \t\r\n\v\f")
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        assert equals, f"not a setting: {line!r}"
        value = value.strip(" \t\r\n\v\f")
        assert value != "{", "a group was opened"
        if value == '"""':
            block = []
            for inner in lines:
                if inner == '"""':
                    break
                block.append(inner)
            value = "\n".join(block)
        read[key.strip()] = value
    return read


def read_quake(content: str) -> dict[str, str]:
    """As ioquake3's Cbuf_Execute and Cmd_TokenizeString do."""
    commands, command, is_quoted = [], "", False
    for character in content:
        if character == '"':
            is_quoted = not is_quoted
        if character in "\n\r" or (character == ";" and not is_quoted):
            commands.append(command)
            command, is_quoted = "", False
        else:
            command += character
    read = {}
    for line in filter(None, commands):
        tokens = re.fullmatch(r'seta (\S+) "([^"]*)"', line)
        assert tokens, f"not one seta: {line!r}"
        read[tokens[1]] = tokens[2]
    return read


def read_openttd(content: str) -> dict[str, str]:
    """As OpenTTD's IniLoadFile does: one pair of quotes is taken off a value."""
    section, read = "", {}
    for line in content.split("\n"):
        text = line.strip(" \t\r")
        if not text or text[0] in "#;":
            continue
        if text[0] == "[":
            section = text[1:-1]
            continue
        key, _, value = text.partition("=")
        value = value.lstrip(" \t")
        value = value.removeprefix('"')
        read[f"{section}.{key.strip()}"] = value.removesuffix('"')
    return read


def read_properties(content: str) -> dict[str, str]:
    """As java.util.Properties.load does, for keys without escapes."""
    read = {}
    for line in content.split("\n"):
        if line:
            key, _, value = line.partition("=")
            units = re.sub(r"\\(u[0-9a-f]{4}|.)", lambda match: _java(match[1]), value)
            read[key] = units.encode("utf-16", "surrogatepass").decode("utf-16")
    return read


def _java(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) == 5 else escape


def flat(document: object, path: str = "") -> dict[str, object]:
    """Nested objects as one mapping of dotted keys."""
    if not isinstance(document, dict):
        return {path: document}
    return {key: value for name, part in document.items() for key, value in flat(part, f"{path}.{name}").items()}


def texts(given_values: dict[str, Value]) -> dict[str, str]:
    """The values as the one-line texts they are meant to be."""
    return {key: as_text(value) for key, value in given_values.items()}


@given(values)
def test_luanti_reads_what_was_meant(given_values: dict[str, Value]) -> None:
    """But for surrounding spaces, and the one value that Luanti has no way to hold."""
    meant = {key: text.strip() for key, text in texts(given_values).items()}
    expected = {key: '""' if text == '"""' else text for key, text in meant.items()}
    read = read_luanti(write_file(FileFormat.LUANTI, given_values))
    assert {key: value.strip() for key, value in read.items()} == expected


@given(values)
def test_quake_reads_one_setting_for_each_value(given_values: dict[str, Value]) -> None:
    """Quotes, backslashes and semicolons are replaced; everything else arrives."""
    expected = {
        key: str(int(value))
        if isinstance(value, bool)
        else re.sub(r'["\\;]', lambda m: {'"': "'", "\\": "/", ";": ","}[m[0]], as_text(value))
        for key, value in given_values.items()
    }
    assert read_quake(write_file(FileFormat.QUAKE, given_values)) == expected


@given(values)
def test_openttd_reads_what_was_meant(given_values: dict[str, Value]) -> None:
    """Spaces and quotes at the ends included."""
    assert read_openttd(write_file(FileFormat.INI, given_values)) == texts(given_values)


@given(values)
def test_ini_holds_the_same_sections_and_keys_for_any_reader(given_values: dict[str, Value]) -> None:
    """Python's own parser finds exactly the keys that were written, whatever the values hold."""
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#", ";"), strict=True)
    parser.read_string(write_file(FileFormat.INI, given_values))
    read = {f"{section}.{key}": value for section in parser.sections() for key, value in parser[section].items()}
    assert read.keys() == given_values.keys()
    for key, text in texts(given_values).items():
        assert read[key] in {text, f'"{text}"'}


@given(values)
@example({"one.alpha": "\\u0041 \\ = : # ! é 👩‍🚀"})
def test_properties_read_what_was_meant(given_values: dict[str, Value]) -> None:
    """In plain ASCII, so that the reader's idea of an encoding does not matter."""
    content = write_file(FileFormat.PROPERTIES, given_values)
    assert content.isascii()
    assert read_properties(content) == texts(given_values)


@given(values)
def test_json_keeps_types_and_nests_by_dots(given_values: dict[str, Value]) -> None:
    """Numbers and booleans stay what they are."""
    expected = {f".{key}": one_line(value) if isinstance(value, str) else value for key, value in given_values.items()}
    assert flat(json.loads(write_file(FileFormat.JSON, given_values))) == expected


@pytest.mark.parametrize("file_format", [form for form in FileFormat if form is not FileFormat.TEXT])
@given(text=st.one_of(st.text(), st.sampled_from(HOSTILE)))
def test_the_number_of_lines_is_the_formats_own(file_format: FileFormat, text: str) -> None:
    """A value adds no line to a file, however it is counted."""
    harmless = write_file(file_format, {"one.alpha": "x", "one.beta": "y"})
    content = write_file(file_format, {"one.alpha": text, "one.beta": "y"})
    block = 2 if file_format is FileFormat.LUANTI and one_line(text).strip() == "{" else 0
    assert len(content.splitlines()) == len(harmless.splitlines()) + block
    content.encode()
