"""What a look says: the activity row that follows from it. Pure; nothing is guessed."""

from __future__ import annotations

from dataclasses import replace

from overworld.domain.activity import Activity, Presence, derive_presence
from overworld.domain.observed import Usage
from overworld.monitor.look import Look, Process


def read_activity(look: Look, before: Look | None, was: Activity | None) -> Activity:
    """The activity row after ``look``. ``before`` is the look before it by this process, ``was`` the last row.

    Not known is None, never 0: a failed query leaves the number of players open. A process that was seen to be gone
    is different: that nobody plays on it, and that it uses nothing, is an observation, so its row says idle, 0 and 0.
    """
    if look.process is Process.GONE:
        return Activity(
            presence=Presence.IDLE,
            players=0,
            max_players=was.max_players if was is not None else None,
            names=(),
            cpu_percent=0.0,
            memory_mib=0.0,
            disk_mib=was.disk_mib if was is not None else None,
            seen_at=look.at,
            last_active_at=was.last_active_at if was is not None else None,
            join_seen_at=was.join_seen_at if was is not None else None,
        )
    roster = look.usage.roster if look.usage is not None else None
    presence = derive_presence(has_query=look.has_query, answer=look.answer, roster=roster)
    players = count_players(look, roster)
    row = Activity(
        presence=presence,
        players=players,
        max_players=look.answer.max_players if look.answer is not None else None,
        names=players_names(look, roster),
        cpu_percent=cpu_percent(look, before),
        memory_mib=look.usage.memory_mib if look.usage is not None else None,
        disk_mib=_disk(look.usage, was),
        seen_at=look.at,
        last_active_at=look.at if presence is Presence.ACTIVE else was.last_active_at if was is not None else None,
        join_seen_at=was.join_seen_at if was is not None else None,
    )
    return replace(row, join_seen_at=look.at) if shows_join(row, was) else row


def count_players(look: Look, roster: tuple[str, ...] | None) -> int | None:
    """How many play, or None if that is not known: either signal proves players, so the larger number holds.

    The roster alone is a count only for a game that has no query; beside a query that failed it proves that somebody
    plays, but not how many.
    """
    if look.answer is not None:
        return max(look.answer.players, len(roster or ()))
    if look.has_query or roster is None:
        return None
    return len(roster)


def players_names(look: Look, roster: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names by the signal that shows more of them: a game may hide names, a join may fall between the two."""
    answered = look.answer.names if look.answer is not None else ()
    return max(answered, roster or (), key=len)


def cpu_percent(look: Look, before: Look | None) -> float | None:
    """Processor use between two looks in percent of one core; None unless both saw the same process."""
    if before is None or before.usage is None or look.usage is None:
        return None
    seconds = look.clock - before.clock
    used = look.usage.cpu_seconds - before.usage.cpu_seconds
    if before.usage.process_started_at != look.usage.process_started_at or seconds <= 0 or used < 0:
        return None
    return 100.0 * used / seconds


def _disk(usage: Usage | None, was: Activity | None) -> float | None:
    """The world's size; measured rarely by some engines, so the last known size stands until there is a newer one."""
    if usage is not None and usage.disk_mib is not None:
        return usage.disk_mib
    return was.disk_mib if was is not None else None


def shows_join(row: Activity, was: Activity | None) -> bool:
    """Whether somebody plays who did not at the row before. After an unknown row that cannot be told, so it is no."""
    if row.presence is not Presence.ACTIVE:
        return False
    if was is None or was.presence is Presence.IDLE:
        return True
    if was.presence is Presence.UNKNOWN:
        return False
    more = row.players is not None and was.players is not None and row.players > was.players
    return more or not set(row.names) <= set(was.names)
