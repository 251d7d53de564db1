"""What a server or an account may be called."""

from __future__ import annotations

import unicodedata

from overworld.domain.errors import BadInput

MAX_NAME_CHARACTERS = 63

# Control and format characters (zero-width, bidirectional overrides), surrogates, private use, unassigned, and the
# separators that end a line: a name is shown in terminals, logs and configuration files.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and symbols by category, yet drawn as nothing (Unicode: Default_Ignorable_Code_Point, and the blank Braille).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_VISIBLE_CATEGORIES = frozenset("LNPS")


def clean_name(given: str, at: str = "/name") -> str:
    """The name as it is stored: trimmed, in Unicode's composed form (NFC), 1-63 characters, all of which can be seen.

    Letters of every script, digits, marks, punctuation, symbols and inner spaces are fine. Raises BadInput that points
    ``at`` the value and names the first character that is not.
    """
    name = unicodedata.normalize("NFC", given).strip()
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise _bad_name(at, f"must have 1 to {MAX_NAME_CHARACTERS} characters, spaces around it not counted")
    for character in name:
        if unicodedata.category(character) in _FORBIDDEN_CATEGORIES or character in _INVISIBLE:
            raise _bad_name(at, f"must not contain the invisible character U+{ord(character):04X}")
    if not any(unicodedata.category(character)[0] in _VISIBLE_CATEGORIES for character in name):
        raise _bad_name(at, "must contain a letter, a digit or a symbol")
    return name


def _bad_name(at: str, says: str) -> BadInput:
    return BadInput(f"The name {says}.", errors=[{"at": at, "says": says}])
