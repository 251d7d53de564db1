"""Which saves are kept. Pure: functions of saves, a policy and the time zone in which its days begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from overworld.domain.errors import BadInput


@dataclass(frozen=True, slots=True)
class Policy:
    """How many saves are kept: the newest ``last``, as many of those that somebody asked for, and the newest of each of
    the newest ``hourly`` hours, ``daily`` days, ``weekly`` ISO weeks and ``monthly`` months in which there is one (an
    hour without a save counts for none).

    ``quota_bytes``: how much all saves of a server may take together; the oldest go first. None: no limit. The newest
    save is always kept, whatever the policy says.
    """

    last: int = 10
    hourly: int = 24
    daily: int = 7
    weekly: int = 4
    monthly: int = 6
    quota_bytes: int | None = None

    def __post_init__(self) -> None:
        numbers = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.quota_bytes or 0)
        if min(numbers) < 0:
            raise BadInput("A policy of saves counts from 0 up.")


@dataclass(frozen=True, slots=True)
class Kept:
    """A save as retention sees it. ``bytes_new`` is what was sent for it: what it takes beyond the saves before it, and
    about what is freed when it goes (its part that later saves share is not). ``pinned``: never forgotten. ``asked``:
    somebody took it, or brought it: a few stops and restores, each with a save of its own, do not push it out."""

    save_id: str
    at: datetime
    bytes_new: int = 0
    pinned: bool = False
    asked: bool = False


def saves_to_forget(saves: Iterable[Kept], policy: Policy, zone: tzinfo) -> tuple[str, ...]:
    """The ids of the saves that nothing keeps, oldest first. Pinned ones, and the newest, never.

    Of saves at the same moment the one with the greater id counts as newer. Pinned saves count for nothing: they take
    nobody's place. Forgetting what it says and asking again forgets nothing more (but for the quota, which counts
    bytes that are only estimates).
    """
    ordered = sorted(saves, key=lambda save: (save.at, save.save_id))
    kept = {save.save_id for save in ordered[-1:]} | {save.save_id for save in ordered if save.pinned}
    choice = [save for save in reversed(ordered) if not save.pinned]
    kept |= {save.save_id for save in [save for save in choice if save.asked][: policy.last]}
    for number, period in _periods(policy, zone):
        kept |= _newest_of_each(choice, number, period)
    left = [save for save in ordered if save.save_id in kept]
    over = set(_over_quota(left, policy.quota_bytes))
    return tuple(save.save_id for save in ordered if save.save_id not in kept or save.save_id in over)


def prune_is_due(bytes_stored: int, bytes_used: int, *, waste_percent: int = 10) -> bool:
    """Whether the waste in a repository has passed that part of it, so that a prune is worth its requests."""
    return (bytes_stored - bytes_used) * 100 > waste_percent * bytes_stored


def _periods(policy: Policy, zone: tzinfo) -> list[tuple[int, Callable[[Kept], Any]]]:
    def local(save: Kept) -> datetime:
        return save.at.astimezone(zone)

    return [
        (policy.last, lambda save: save.save_id),
        # The offset tells the two hours apart that have the same name when clocks are set back.
        (policy.hourly, lambda save: (local(save).date(), local(save).hour, local(save).utcoffset())),
        (policy.daily, lambda save: local(save).date()),
        (policy.weekly, lambda save: local(save).isocalendar()[:2]),
        (policy.monthly, lambda save: (local(save).year, local(save).month)),
    ]


def _newest_of_each(newest_first: Sequence[Kept], number: int, period: Callable[[Kept], Any]) -> set[str]:
    """The newest save of each of the newest ``number`` periods."""
    found: dict[Any, str] = {}
    for save in newest_first:
        found.setdefault(period(save), save.save_id)
    return set(list(found.values())[:number])


def _over_quota(oldest_first: Sequence[Kept], quota_bytes: int | None) -> list[str]:
    """The oldest that have to go so that the rest fits. Neither the newest nor a pinned one goes."""
    if quota_bytes is None:
        return []
    excess = sum(save.bytes_new for save in oldest_first) - quota_bytes
    gone = []
    for save in oldest_first[:-1]:
        if excess <= 0:
            break
        if not save.pinned:
            gone.append(save.save_id)
            excess -= save.bytes_new
    return gone
