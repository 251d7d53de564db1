"""What requests and responses are made of. A class's name is its component's name in the OpenAPI document."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

# No control characters: a NUL cannot be stored by PostgreSQL, the others corrupt logs and terminals.
PLAIN_TEXT = r"^[^\x00-\x1f\x7f-\x9f]*$"

MAX_INTEGER = 2**53 - 1
"""What JSON numbers carry exactly everywhere (RFC 8259, section 6)."""

ID_PATTERN = r"[a-z][a-z0-9]{11}"


class Given(BaseModel):
    """A JSON body that a client sends: nothing is converted, and a member that nobody knows is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Asked(BaseModel):
    """The query of a request. Values arrive as text; a parameter that nobody knows is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """A JSON body that a client receives: every member is always there."""

    model_config = ConfigDict(frozen=True)


def _read_integer(value: object) -> object:
    """Only plain decimal digits: pydantic alone would also take ``5.0``, ``1_000`` and spaces."""
    if isinstance(value, str):
        if re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII) is None:
            raise ValueError("must be a whole number")
        return int(value)
    return value


def _read_whole(value: object) -> object:
    """JSON has one kind of number: 5.0 is a whole one (JSON Schema, core section 4.2.3)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read_flag(value: object) -> object:
    """Only true and false: pydantic alone would also take ``yes``, ``on`` and ``1``."""
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("must be true or false")
        return value == "true"
    return value


def _read_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


ReadInteger = BeforeValidator(_read_integer)
"""Beside an ``int`` and its bounds, in a query."""

Whole = BeforeValidator(_read_whole)
"""Beside an ``int`` and its bounds, in a body."""
Flag = Annotated[bool, BeforeValidator(_read_flag), WithJsonSchema({"type": "boolean"})]
OneOrMore = BeforeValidator(_read_list)
"""Beside a ``list[...]``: the parameter may be repeated."""


class PageAsked(Asked):
    """The query of every list."""

    page_size: Annotated[int, Field(ge=1, le=200), ReadInteger] = Field(
        default=50, description="Most items on the page."
    )
    page_token: str | None = Field(
        default=None,
        max_length=1000,
        pattern=PLAIN_TEXT,
        description="`next_page_token` of the page before, unchanged. Leave it out for the first page.",
    )
