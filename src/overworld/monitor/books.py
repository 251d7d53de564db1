"""What was seen and is not written yet: bounded, so that a database that is away loses no usage and fills no memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from overworld.domain.activity import Activity, Presence
from overworld.domain.servers import ServerId
from overworld.monitor.accounting import Seconds, seconds_by_day, seconds_run
from overworld.monitor.look import Look, Process
from overworld.monitor.reading import read_activity
from overworld.store.activity import RunningServer
from overworld.store.usage import RunningTime, Sample

MOST_SAMPLES = 50_000
"""Samples of history kept for a database that is away (1,000 games for eight minutes, 10 for half a day); then the
oldest are dropped. Rows and seconds need no limit: they grow with the number of servers, not with time."""

DayOfServer = tuple[str, ServerId, datetime]  # account, server, first moment of the UTC day


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes into the store in one transaction."""

    rows: Mapping[ServerId, Activity]
    samples: tuple[Sample, ...]
    seconds: Mapping[DayOfServer, Seconds]

    def __bool__(self) -> bool:
        return bool(self.rows or self.samples or self.seconds)

    @property
    def times(self) -> list[RunningTime]:
        """The seconds as the store takes them."""
        return [
            RunningTime(account_id, server_id, day, used.running, used.played, used.memory_mib)
            for (account_id, server_id, day), used in self.seconds.items()
        ]


class Books:
    """Keeps the last look and row of every watched server, and everything unwritten. Used on one event loop."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._looks: dict[ServerId, Look] = {}
        self._last: dict[ServerId, Activity] = {}
        self._rows: dict[ServerId, Activity] = {}
        self._samples: deque[Sample] = deque(maxlen=MOST_SAMPLES)
        self._seconds: dict[DayOfServer, Seconds] = {}

    def record(self, server: RunningServer, look: Look) -> Activity:
        """Enter one look, later than all before it of this server, and return the row that follows from it."""
        before, was = self._looks.get(server.server_id), self._last.get(server.server_id, server.activity)
        row = read_activity(look, before, was)
        self._last[server.server_id] = row
        if look.process is not Process.UNKNOWN:
            # An unknown look says nothing about the time around it: the next one measures from the last known.
            self._looks[server.server_id] = look
        if look.process is Process.GONE and before is not None and before.process is Process.GONE:
            return row  # written already: a server that stays down costs nothing
        self._rows[server.server_id] = row
        if look.process is Process.RUNS:
            self._samples.append(
                Sample(server.server_id, look.at, row.players, row.cpu_percent, row.memory_mib, row.disk_mib)
            )
            self._charge(server, look, before, is_played=row.presence is Presence.ACTIVE)
        return row

    def keep_only(self, server_ids: Collection[ServerId]) -> None:
        """Forget the looks of all other servers. What is unwritten about them stays."""
        for server_id in self._last.keys() - set(server_ids):
            del self._last[server_id]
            self._looks.pop(server_id, None)

    def take(self) -> Batch:
        """Everything unwritten, which is then the caller's: to write, or to give to ``put_back``."""
        batch = Batch(self._rows, tuple(self._samples), self._seconds)
        self._rows, self._seconds = {}, {}
        self._samples.clear()
        return batch

    def put_back(self, batch: Batch) -> None:
        """Take a batch back that could not be written; rows that were replaced by newer ones meanwhile are dropped."""
        self._rows = {**batch.rows, **self._rows}
        self._samples = deque((*batch.samples, *self._samples), maxlen=MOST_SAMPLES)
        newer, self._seconds = self._seconds, dict(batch.seconds)
        for day, used in newer.items():
            self._add(day, used)

    def _charge(self, server: RunningServer, look: Look, before: Look | None, *, is_played: bool) -> None:
        seconds = seconds_run(look, before, self._interval_seconds)
        days = seconds_by_day(look.at, seconds, is_played=is_played, reserved_mib=server.memory_mib)
        for day, used in days.items():
            self._add((server.account_id, server.server_id, day), used)

    def _add(self, day: DayOfServer, used: Seconds) -> None:
        self._seconds[day] = self._seconds.get(day, Seconds()) + used
