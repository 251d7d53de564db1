"""Kinds of settings that are more than a word or a number."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from overworld.domain.cron import parse_cron
from overworld.domain.errors import BadInput
from overworld.time_zones import find_zone

_KEEP = re.compile(r"(last|hourly|daily|weekly|monthly)=[0-9]{1,4}(,(last|hourly|daily|weekly|monthly)=[0-9]{1,4})*")


def _seconds(value: object) -> object:
    if isinstance(value, str) and value.removeprefix("-").replace(".", "", 1).isdecimal():
        return float(value)
    return value


def _checked(check: Callable[[str], object], value: str) -> str:
    """What the domain says about it, as pydantic wants to hear it."""
    try:
        check(value)
    except BadInput as error:
        raise ValueError(error.detail) from None
    return value


def _check_keep(value: str) -> str:
    names = [part.partition("=")[0] for part in value.split(",")]
    if not _KEEP.fullmatch(value) or len(set(names)) != len(names):
        raise ValueError("must be like last=6,hourly=24,daily=7,weekly=4,monthly=6; what is left out is 0")
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
"""Seconds ("90") or ISO 8601 ("PT90S", "P7D")."""
Schedule = Annotated[str, AfterValidator(lambda value: value and _checked(parse_cron, value))]
"""Cron's five fields; empty: never."""
TimeZone = Annotated[str, AfterValidator(lambda value: _checked(find_zone, value))]
Keep = Annotated[str, AfterValidator(_check_keep)]
"""How many saves of which kind: ``last=6,daily=7``."""
