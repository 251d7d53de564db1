"""What a worker works with and under: handed to every kind of job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from overworld.domain.errors import SaveError
from overworld.domain.saves import SavePolicy
from overworld.engines.base import Console, Engine, WorldAccess
from overworld.games.catalogue import Catalogue
from overworld.saves.base import SaveStore
from overworld.saves.retention import Policy
from overworld.store.database import Database
from overworld.worker.claims import Claims
from overworld.worker.repositories import Repositories
from overworld.worker.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class Tools:
    """One worker's; shared by all its jobs. ``claims`` are asked before each of them whether it may write to the store.
    ``refusal``: why this machine cannot work with the store at all."""

    database: Database
    engine: Engine
    console: Console
    catalogue: Catalogue
    store: SaveStore
    repositories: Repositories
    snapshots: Snapshots
    worlds: WorldAccess
    claims: Claims
    refusal: SaveError | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How this installation saves. ``silence`` is how long a game may be kept from writing, ``undo`` how long the world
    before a restore is kept, ``retention`` how long the saves of a purged server are; ``unpacked_bytes`` is the most
    that an uploaded world may have."""

    keep: Policy
    time_zone: str
    deadline: timedelta
    silence: timedelta
    undo: timedelta
    retention: timedelta
    unpacked_bytes: int


def keep_of(policy: SavePolicy, default: Policy) -> Policy:
    """What is kept of a server's saves, where its own policy says nothing by the default."""

    def either(mine: int | None, theirs: int) -> int:
        return theirs if mine is None else mine

    return Policy(
        last=either(policy.keep_last, default.last),
        hourly=either(policy.keep_hourly, default.hourly),
        daily=either(policy.keep_daily, default.daily),
        weekly=either(policy.keep_weekly, default.weekly),
        monthly=either(policy.keep_monthly, default.monthly),
        quota_bytes=default.quota_bytes if policy.quota_mib is None else policy.quota_mib * 1024 * 1024,
    )
