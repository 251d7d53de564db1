"""What the controller looks at in the cloud now and then: how much room there is, and whether both sides agree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from overworld.cloud.base import Cloud
from overworld.cloud.sweep import Oddity, SweepReport, SweepRule, sweep
from overworld.controller.metrics import ADDRESS_FINDINGS
from overworld.domain.addresses import AddressLease
from overworld.domain.errors import OverworldError
from overworld.domain.servers import ServerId
from overworld.store.addresses import count_made, list_leases, write_address
from overworld.store.cloud_reports import ReportName, write_report
from overworld.store.database import Database
from overworld.store.lease import LeaseLost

COUNT_EVERY = timedelta(minutes=1)
SWEEP_EVERY = timedelta(minutes=10)

log = structlog.get_logger(__name__)


async def watch_cloud(database: Database, cloud: Cloud, epoch: int, wake: Callable[[ServerId], None]) -> None:
    """Keep the reports of the cloud true until cancelled, first at once. What the cloud does not answer is asked again
    the next time. Raises ``LeaseLost``."""
    watch = CloudWatch(database, cloud, epoch, wake)
    sweep_at = datetime.now(UTC)
    while True:
        try:
            await watch.count()
            if datetime.now(UTC) >= sweep_at:
                await watch.sweep(datetime.now(UTC), SweepRule())
                sweep_at = datetime.now(UTC) + SWEEP_EVERY
        except LeaseLost:
            raise
        except OverworldError as error:
            log.warning("the cloud cannot be looked at yet", error=error.detail)
        except Exception:
            log.exception("a look at the cloud failed")
        await asyncio.sleep(COUNT_EVERY.total_seconds())


class CloudWatch:
    """Each look is safe to repeat, and to be killed in."""

    def __init__(self, database: Database, cloud: Cloud, epoch: int, wake: Callable[[ServerId], None]) -> None:
        self._database = database
        self._cloud = cloud
        self._epoch = epoch
        self._wake = wake

    async def count(self) -> None:
        """Web knows how many addresses there can be, and how many of the leased ones those figures count. Writes only
        what is new."""
        made = await asyncio.to_thread(
            self._count_made
        )  # before: what is made in between counts twice, never not at all
        capacity = await self._cloud.capacity()
        quotas = [
            {"place": quota.place, "used": quota.used, "limit": quota.limit, "remedy": quota.remedy}
            for quota in capacity.address_quotas
        ]
        await self._report(ReportName.CAPACITY, {"address_quotas": quotas, "addresses_made": made})

    async def sweep(self, now: datetime, rule: SweepRule) -> SweepReport:
        """Both sides were compared, orphans marked or removed, and what is leased and not there is made anew by the
        reconciler."""
        report = await sweep(self._cloud, self._read_leases, now, rule)
        for finding in report.findings:
            log.warning("an address is odd", oddity=finding.oddity, server_id=finding.server_id, says=finding.says)
        for server_id in report.removed:
            log.warning("an address that belonged to no server was removed", server_id=server_id)
        for failure in report.failures:
            log.warning("a sweep could not do everything", error=failure)
        for oddity in Oddity:
            ADDRESS_FINDINGS.labels(oddity).set(sum(finding.oddity is oddity for finding in report.findings))
        leases = {lease.server_id: lease for lease in await self._read_leases()}
        for finding in report.findings:
            lease = leases.get(finding.server_id)
            if finding.oddity in {Oddity.MISSING, Oddity.CHANGED} and lease is not None and lease.resource is not None:
                await asyncio.to_thread(self._write, replace(lease, resource=None))
                self._wake(finding.server_id)
        findings = [
            {"oddity": finding.oddity, "server_id": finding.server_id, "says": finding.says}
            for finding in report.findings
        ]
        await self._report(ReportName.SWEEP, {"findings": findings})
        return report

    async def _read_leases(self) -> list[AddressLease]:
        def run() -> list[AddressLease]:
            with self._database.transaction() as tx:
                return list_leases(tx)

        return await asyncio.to_thread(run)

    def _count_made(self) -> int:
        with self._database.transaction() as tx:
            return count_made(tx)

    def _write(self, lease: AddressLease) -> None:
        with self._database.transaction() as tx:
            write_address(tx, self._epoch, lease)

    async def _report(self, name: ReportName, content: dict[str, object]) -> None:
        def run() -> None:
            with self._database.transaction() as tx:
                write_report(tx, self._epoch, name, content, datetime.now(UTC))

        await asyncio.to_thread(run)
