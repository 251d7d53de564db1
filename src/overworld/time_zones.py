"""Time zones by their names, from the system's database or Python's own."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from overworld.domain.errors import BadInput


def find_zone(name: str) -> ZoneInfo:
    """The time zone. Raises BadInput for a name that is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        says = f"{name!r} is not a time zone; they look like Europe/Berlin, or UTC"
        raise BadInput(f"The time zone: {says}.", errors=[{"at": "/time_zone", "says": says}]) from error
