"""How the snapshots of the installation's repository are told apart, by their tags. Pure.

``database`` and ``facts`` belong together by a digest: facts seldom change, so they are written once for many dumps.
A ``claim`` says which machine the installation lives on; each dump names the one that it was made under.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from overworld.domain.recovery import Claim
from overworld.saves.base import Snapshot
from overworld.saves.retention import Kept, Policy, saves_to_forget

DATABASE, FACTS, CLAIM = "database", "facts", "claim"

KEPT = Policy(last=12, hourly=24, daily=14, weekly=8, monthly=6)

_CLAIM = re.compile(r"claim-(\d{1,18})-([a-z0-9]+)")


def database_tags(claim: Claim, digest: str) -> list[str]:
    """Of a dump."""
    return [DATABASE, _claim_tag(claim), _facts_tag(digest)]


def facts_tags(digest: str) -> list[str]:
    """Of the facts with that digest."""
    return [FACTS, _facts_tag(digest)]


def claim_tags(claim: Claim) -> list[str]:
    """Of a claim that is made before there is a dump."""
    return [CLAIM, _claim_tag(claim)]


def newest_claim(snapshots: Iterable[Snapshot]) -> tuple[Claim, datetime] | None:
    """Who the installation belongs to, and since when that is seen; None if nobody ever claimed it."""
    found: dict[Claim, datetime] = {}
    for snapshot in snapshots:
        for tag in snapshot.tags:
            if matched := _CLAIM.fullmatch(tag):
                claim = Claim(int(matched[1]), matched[2])
                found[claim] = min(snapshot.at, found.get(claim, snapshot.at))
    return max(found.items(), default=None)


def has_claim(snapshots: Iterable[Snapshot], claim: Claim) -> bool:
    """Whether that claim was made."""
    return any(_claim_tag(claim) in snapshot.tags for snapshot in snapshots)


def dumps(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Dumps of the database, oldest first."""
    return sorted((each for each in snapshots if DATABASE in each.tags), key=lambda each: each.at)


def find_facts(snapshots: Sequence[Snapshot], digest: str) -> Snapshot | None:
    """The facts with that digest."""
    return next((each for each in snapshots if FACTS in each.tags and _facts_tag(digest) in each.tags), None)


def facts_of(snapshots: Sequence[Snapshot], dump: Snapshot) -> Snapshot | None:
    """The facts that belong to that dump."""
    return next((each for each in snapshots if FACTS in each.tags and set(each.tags) & set(dump.tags)), None)


def snapshots_to_forget(snapshots: Sequence[Snapshot], digest: str) -> list[str]:
    """Dumps that nothing keeps, facts that neither a kept dump needs nor one that is not among these and has that
    ``digest``, and claims before the newest."""
    going = set(saves_to_forget([Kept(each.snapshot_id, each.at) for each in dumps(snapshots)], KEPT, UTC))
    needed = {tag for each in dumps(snapshots) if each.snapshot_id not in going for tag in each.tags}
    needed.add(_facts_tag(digest))
    newest = newest_claim(snapshots)
    for each in snapshots:
        if FACTS in each.tags and not needed & (set(each.tags) - {FACTS}):
            going.add(each.snapshot_id)
        if CLAIM in each.tags and newest is not None and _claim_tag(newest[0]) not in each.tags:
            going.add(each.snapshot_id)
    return sorted(going)


def _claim_tag(claim: Claim) -> str:
    return f"claim-{claim.epoch}-{claim.token}"


def _facts_tag(digest: str) -> str:
    return f"facts-{digest}"
