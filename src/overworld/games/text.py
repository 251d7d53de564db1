"""Which characters a one-line text may hold: what people type reaches consoles, configuration files and logs."""

from __future__ import annotations

import unicodedata

# Controls, surrogates, line and paragraph separators; and the bidirectional overrides that make a text read as
# another one (Unicode Technical Report 36, section 2.5). Joiners stay: emoji and several scripts need them.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_FORBIDDEN = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def is_plain(character: str) -> bool:
    """Whether the character is harmless inside one line of text."""
    return character not in _FORBIDDEN and unicodedata.category(character) not in _FORBIDDEN_CATEGORIES


def find_odd_character(text: str) -> str | None:
    """The first character that may not be in a one-line text, named like U+000A; None if all are harmless."""
    odd = next((character for character in text if not is_plain(character)), None)
    return None if odd is None else f"U+{ord(odd):04X}"


def one_line(text: str) -> str:
    """The text with every such character replaced by a space: never fails, the length stays."""
    return "".join(character if is_plain(character) else " " for character in text)
