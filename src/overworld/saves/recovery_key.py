"""The recovery key: what an operator keeps on paper, and what it is as a password.

160 random bits in Crockford's base 32 (crockford.com/base32.html), whose letters and digits cannot be taken for one
another, with three characters more by which a slip of the pen is found before anything is tried with it.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from overworld.domain.errors import BadInput

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("OILU", "011V")  # U is not in the alphabet: a V by hand
_SECRET, _CHECK, _GROUP = 32, 3, 5
_LEFT_OUT = re.compile(r"[\s\-–—]+")


def new_recovery_key() -> str:
    """A new key as it is shown: seven groups of five."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET))
    return _grouped(secret + _check_of(secret))


def parse_recovery_key(text: str) -> str:
    """The key as it is shown, however it was written: in lower case, without dashes, with O for 0. Raises ``BadInput``,
    which never repeats it."""
    letters = _LEFT_OUT.sub("", text).upper().translate(_READ_AS)
    if len(letters) != _SECRET + _CHECK or set(letters) - set(_ALPHABET):
        raise BadInput(
            f"That is no recovery key: it has {_SECRET + _CHECK} letters and digits in groups of {_GROUP},"
            f" this has {len(letters)}."
        )
    if _check_of(letters[:_SECRET]) != letters[_SECRET:]:
        raise BadInput("The recovery key has a slip of the pen: compare each group with what you wrote down.")
    return _grouped(letters)


def _grouped(letters: str) -> str:
    return "-".join(letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP))


def _check_of(secret: str) -> str:
    number = int.from_bytes(hashlib.sha256(secret.encode()).digest()[:2], "big") >> 1
    return "".join(_ALPHABET[number >> shift & 31] for shift in (10, 5, 0))
