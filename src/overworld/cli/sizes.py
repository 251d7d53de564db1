"""Sizes as people write them: 8192, 8192MiB, 8GiB, 1TiB."""

from __future__ import annotations

import re

import click

_SIZE = re.compile(r"(\d{1,9})\s*(MiB|GiB|TiB)?", re.IGNORECASE)
_MIB = {"": 1, "mib": 1, "gib": 1024, "tib": 1024 * 1024}


class Size(click.ParamType[int]):
    """A whole number of MiB, or one with its unit."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The size in MiB."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value).strip())
        if found is None or not (mib := int(found[1]) * _MIB[(found[2] or "").lower()]):
            self.fail(f"{value!r} is no size: write 8192 (MiB), 8192MiB, 8GiB or 1TiB.", param, ctx)
        return mib


SIZE = Size()
