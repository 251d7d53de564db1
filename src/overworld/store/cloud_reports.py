"""What the controller last heard of the cloud, so that web can tell and refuse without any right there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from overworld.store.database import Transaction
from overworld.store.lease import CONTROLLER, check_epoch
from overworld.store.tables import cloud_report


class ReportName(StrEnum):
    """What it is about."""

    CAPACITY = "capacity"
    SWEEP = "sweep"


@dataclass(frozen=True, slots=True)
class CloudReport:
    """``content`` is JSON; ``seen_at`` is when it was last different."""

    content: Mapping[str, Any]
    seen_at: datetime


def write_report(tx: Transaction, epoch: int, name: ReportName, content: Mapping[str, Any], now: datetime) -> None:
    """Store it; the same content again writes nothing. Raises ``LeaseLost`` unless ``epoch`` is the controller's."""
    check_epoch(tx, CONTROLLER, epoch)
    row = insert(cloud_report).values(name=name, content=dict(content), seen_at=now)
    tx.execute(
        row.on_conflict_do_update(
            index_elements=[cloud_report.c.name],
            set_={"content": row.excluded.content, "seen_at": row.excluded.seen_at},
            where=cloud_report.c.content != row.excluded.content,
        )
    )


def read_report(tx: Transaction, name: ReportName) -> CloudReport | None:
    """The newest, or None if there never was one."""
    row = tx.execute(select(cloud_report).where(cloud_report.c.name == name)).mappings().one_or_none()
    return None if row is None else CloudReport(row["content"], row["seen_at"])
