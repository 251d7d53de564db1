"""Ids that can be read aloud, typed and used as DNS labels."""

from __future__ import annotations

import secrets

LETTERS = "bcdfghjkmnpqrstvwxz"  # no vowels (no words), nothing that looks like something else
CHARACTERS = LETTERS + "23456789"
LENGTH = 12


def new_id() -> str:
    """A new id: 12 characters, the first a letter; about 56 random bits, so two never meet in practice."""
    return secrets.choice(LETTERS) + "".join(secrets.choice(CHARACTERS) for _ in range(LENGTH - 1))
