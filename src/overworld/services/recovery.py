"""Whether the installation could be brought back, for its operators."""

from __future__ import annotations

from datetime import datetime, timedelta

from overworld.domain.accounts import Action, Actor, may
from overworld.domain.errors import NotFound
from overworld.domain.recovery import Health, Recovery, derive_health
from overworld.store import recovery as rows
from overworld.store.database import Transaction


def show(tx: Transaction, actor: Actor, every: timedelta, now: datetime) -> tuple[Health, Recovery | None]:
    """How well it is prepared. Raises NotFound for who is no admin: that is the operator's."""
    if not may(actor, Action.SEE_RECOVERY):
        raise NotFound("There is no such thing, or you may not see it.")
    found = rows.find_recovery(tx)
    return derive_health(found, every, now), found
