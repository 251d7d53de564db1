"""When a schedule may be skipped: only when it is certain that nobody played."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from overworld.domain.activity import Presence
from overworld.domain.conditions import Truth
from overworld.domain.saves import Played, SaveHealth, derive_save_conditions, nobody_has_played

SINCE = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOW = SINCE + timedelta(hours=6)
IDLE = Played(
    stopped_since=None,
    presence=Presence.IDLE,
    last_active_at=SINCE - timedelta(minutes=1),
    unknown_looks=0,
    minutes_seen=360,
)


def idle(**changes: object) -> Played:
    """A server that was seen idle all the time, but for the changes."""
    given = {name: getattr(IDLE, name) for name in Played.__slots__}
    return Played(**{**given, **changes})


@pytest.mark.parametrize(
    ("played", "certain"),
    [
        (IDLE, True),
        (idle(last_active_at=None), True),
        (idle(last_active_at=SINCE), False),
        (idle(presence=Presence.UNKNOWN), False),
        (idle(presence=Presence.ACTIVE), False),
        (idle(presence=None), False),
        (idle(unknown_looks=1), False),
        (idle(minutes_seen=358), True),
        (idle(minutes_seen=357), False),  # the monitor was away for a while
        (idle(stopped_since=SINCE - timedelta(minutes=5), presence=Presence.UNKNOWN, minutes_seen=0), True),
        (idle(stopped_since=SINCE + timedelta(minutes=5)), False),  # it ran after the save
    ],
)
def test_unknown_never_skips(played: Played, certain: bool) -> None:
    """A look that failed, a minute without one, a run that ended since: a save is taken."""
    assert nobody_has_played(SINCE, played, NOW) is certain


def test_the_condition_of_saves() -> None:
    """A problem is shown as long as it is there, else when the world was last saved and proven."""
    assert derive_save_conditions(SaveHealth(), 1) == ()
    (fine,) = derive_save_conditions(SaveHealth(last_saved_at=SINCE), 1)
    assert (fine.status, "never proven" in fine.message) == (Truth.TRUE, True)
    problem = SaveHealth(last_saved_at=SINCE, problem_reason="DrillFailed", problem="Torn.", problem_since=NOW)
    (bad,) = derive_save_conditions(problem, 1)
    assert (bad.status, bad.reason, bad.message, bad.since) == (Truth.FALSE, "DrillFailed", "Torn.", NOW)
