"""What comes back, how much is lost, and what the operator is told before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from overworld.domain.activity import Presence
from overworld.domain.recovery import Claim, Preparedness, Recovery, choose_save, derive_health, derive_loss
from overworld.domain.saves import Played, Quiet, Save, SaveReason, SaveState
from overworld.domain.servers import Desired, Server

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVERY = timedelta(minutes=15)


def saved(name: str, minutes: int, **values: Any) -> Save:
    """A save of so many minutes ago."""
    given: dict[str, Any] = {"world_generation": 1, "quiet": Quiet.QUIETED, **values}
    return Save(
        name, "s", "a", state=SaveState.KEPT, reason=SaveReason.SCHEDULE, label="", pinned=False,
        created_at=NOW - timedelta(minutes=minutes), **given,
    )  # fmt: skip


def server(generation: int) -> Server:
    """One whose world is that generation."""
    return Server(
        id="s", number=1, account_id="a", name="s", game="luanti", generation=1, desired=Desired.RUNNING,
        desired_generation=1, restarts=0, variables={}, memory_mib=64, world_generation=generation, retired_worlds=(),
        created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def test_the_newest_save_that_held_still_comes_back() -> None:
    """A newer one that may be torn only where there is nothing better."""
    old, torn = saved("old", 60), saved("torn", 5, quiet=Quiet.UNQUIETED)
    assert choose_save(server(1), [torn, old], None) == old
    assert choose_save(server(1), [torn], None) == torn
    assert choose_save(server(1), [], None) is None


def test_a_world_that_was_restored_comes_back_rather_than_the_one_before_it() -> None:
    """What was saved right before a restore is the broken world; what it was restored from is the right one."""
    source, broken = saved("source", 600), saved("broken", 10)
    assert choose_save(server(2), [broken, source], source) == source
    own = saved("own", 1, world_generation=2)
    assert choose_save(server(2), [own, broken, source], source) == own
    assert choose_save(server(2), [broken, source], None) == broken


def test_nothing_is_lost_where_nobody_can_have_played() -> None:
    """Else it is the time to the last sign of life, whatever is unknown counted as played."""
    save = saved("one", 60)
    stopped = Played(save.created_at - timedelta(minutes=1), None, None, 0, 0)
    assert derive_loss(save, stopped, NOW) == timedelta()
    idle = Played(None, Presence.IDLE, None, 0, 60)
    assert derive_loss(save, idle, NOW) == timedelta()
    unknown = Played(None, Presence.IDLE, None, 1, 60)
    assert derive_loss(save, unknown, NOW) == timedelta(minutes=60)
    assert derive_loss(save, None, NOW) == timedelta(minutes=60)
    assert derive_loss(saved("later", -5), None, NOW) == timedelta()


def test_the_operator_is_told_how_well_it_is_prepared() -> None:
    """From no key at all to a dump that is too old; why, and what to do."""

    def state(**values: Any) -> Preparedness:
        return derive_health(Recovery(Claim(1, "a"), "k", "w", **values), EVERY, NOW).state

    assert derive_health(None, EVERY, NOW).state is state() is Preparedness.OFF
    assert "create-key" in derive_health(None, EVERY, NOW).message
    assert state(key_made_at=NOW) is Preparedness.WAITING
    assert state(key_made_at=NOW, dumped_at=NOW - EVERY) is Preparedness.READY
    assert state(key_made_at=NOW, dumped_at=NOW - EVERY, problem="the store is away") is Preparedness.READY
    assert state(key_made_at=NOW, dumped_at=NOW - 4 * EVERY) is Preparedness.LATE
    assert state(key_made_at=NOW, dumped_at=NOW, fence="it lives elsewhere") is Preparedness.FENCED
    late = Recovery(Claim(1, "a"), "k", "w", key_made_at=NOW, dumped_at=NOW - 4 * EVERY, problem="The disk is full.")
    assert "The disk is full." in derive_health(late, EVERY, NOW).message
