"""Leases and cloud compared: what one side has and the other lacks. Reported first, removed only after a time.

What is leased and not there is a matter for the reconciler (``ensure_address`` makes it); what is there and not leased
costs money for ever and is a matter for nobody else. Removal is careful, since a public IP that is gone is gone: only
what an earlier sweep marked, a whole grace ago; never what a balancer uses; never many at once (that is what a wrong
or restored database looks like).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from overworld.cloud.base import AddressSeen, Cloud
from overworld.domain.addresses import AddressLease
from overworld.domain.errors import CloudError
from overworld.domain.servers import ServerId


@dataclass(frozen=True, slots=True)
class SweepRule:
    """``grace``: how long an orphan is only reported. ``settling``: how long a new lease may be without its address.
    ``most_removals``: if more than this are due in one sweep, none is removed and a person has to look."""

    grace: timedelta = timedelta(days=1)
    settling: timedelta = timedelta(minutes=10)
    most_removals: int = 10


class Oddity(StrEnum):
    """What is wrong with one address."""

    ORPHANED = "orphaned"  # in the cloud, leased by nobody
    STRAY = "stray"  # the same, and a balancer uses it: a Service without a server
    MISSING = "missing"  # leased, not in the cloud
    CHANGED = "changed"  # leased with one IP, in the cloud with another


@dataclass(frozen=True, slots=True)
class Finding:
    """One oddity, and the sentence about it."""

    oddity: Oddity
    server_id: ServerId
    says: str


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What to tell and what to do, each in order of server ids. ``remove`` is empty if too many are due."""

    findings: tuple[Finding, ...]
    mark: tuple[ServerId, ...]
    unmark: tuple[ServerId, ...]
    remove: tuple[ServerId, ...]


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep found, what it removed, and what it could not do (a sentence each; the next sweep tries again)."""

    findings: tuple[Finding, ...]
    removed: tuple[ServerId, ...]
    failures: tuple[str, ...]


def plan_sweep(
    leases: Iterable[AddressLease], seen: Iterable[AddressSeen], now: datetime, rule: SweepRule
) -> SweepPlan:
    """Compare. Nothing that is leased is ever in ``remove`` or ``mark``; ``remove`` holds only what ``seen`` already
    shows as marked for ``rule.grace``. Pure; both sides hold each server at most once."""
    leased = {lease.server_id: lease for lease in leases}
    there = {address.server_id: address for address in seen}
    orphans = [there[server_id] for server_id in sorted(there.keys() - leased.keys())]
    due = [
        orphan.server_id
        for orphan in orphans
        if not orphan.attached and orphan.orphan_since is not None and orphan.orphan_since <= now - rule.grace
    ]
    too_many = len(due) > rule.most_removals
    findings = [_orphan_finding(orphan, now, rule, len(due) if too_many else 0) for orphan in orphans]
    findings += [
        finding
        for server_id in sorted(leased)
        if (finding := _lease_finding(leased[server_id], there.get(server_id), now, rule)) is not None
    ]
    return SweepPlan(
        findings=tuple(findings),
        mark=tuple(orphan.server_id for orphan in orphans if orphan.orphan_since is None),
        unmark=tuple(
            server_id for server_id in sorted(there.keys() & leased.keys()) if there[server_id].orphan_since is not None
        ),
        remove=() if too_many else tuple(due),
    )


async def sweep(
    cloud: Cloud, read_leases: Callable[[], Awaitable[Sequence[AddressLease]]], now: datetime, rule: SweepRule
) -> SweepReport:
    """Look at both sides, mark what is orphaned, remove what has been for ``rule.grace``. Safe to call at any time and
    to be killed in; one failure does not keep it from the rest. Raises ``CloudError`` only if the cloud cannot be
    listed at all.

    Leases are read *after* the cloud, since a lease is committed before its address is made: (1) we list, (2) a server
    is created with lease and address, (3) we read leases. The other way round that address would look orphaned. They
    are read once more before the removals.
    """
    seen = await cloud.addresses()
    plan = plan_sweep(await read_leases(), seen, now, rule)
    failures: list[str] = []
    removed: list[ServerId] = []
    for server_id, since in [(one, now) for one in plan.mark] + [(one, None) for one in plan.unmark]:
        try:
            await cloud.mark_orphan(server_id, since)
        except CloudError as error:
            failures.append(error.detail)
    leased_by_now = {lease.server_id for lease in await read_leases()} if plan.remove else set()
    for server_id in plan.remove:
        if server_id in leased_by_now:
            continue
        try:
            await cloud.release_address(server_id)
        except CloudError as error:
            failures.append(error.detail)
        else:
            removed.append(server_id)
    return SweepReport(findings=plan.findings, removed=tuple(removed), failures=tuple(failures))


def _orphan_finding(orphan: AddressSeen, now: datetime, rule: SweepRule, held_back: int) -> Finding:
    what = f"The address {orphan.resource} ({orphan.ip or 'no IP'}) belongs to no server"
    if orphan.attached:
        says = f"{what}, but a balancer uses it: it is left alone; look for a Service that no server has."
        return Finding(Oddity.STRAY, orphan.server_id, says)
    if held_back:
        says = (
            f"{what}; {held_back} such are due at once, more than {rule.most_removals}: none is removed. Is this the "
            "right database?"
        )
    else:
        remove_at = (orphan.orphan_since or now) + rule.grace
        says = f"{what}: it is removed after {remove_at.isoformat(timespec='minutes')}."
    return Finding(Oddity.ORPHANED, orphan.server_id, says)


def _lease_finding(lease: AddressLease, address: AddressSeen | None, now: datetime, rule: SweepRule) -> Finding | None:
    if address is None:
        if lease.ip is None and now - lease.leased_at < rule.settling:
            return None  # in the making
        says = f"The leased address {lease.ip or '(not yet known)'} is not in the cloud: it has to be made anew."
        return Finding(Oddity.MISSING, lease.server_id, says)
    if lease.ip is not None and address.ip is not None and address.ip != lease.ip:
        says = f"The leased address was {lease.ip}, now {address.resource} is {address.ip}: somebody made it anew."
        return Finding(Oddity.CHANGED, lease.server_id, says)
    return None
