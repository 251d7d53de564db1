"""1,000 scheduled servers on which nobody plays: what they cost the database and the save store in a day.

The day is played through by the worker's own tick, a minute at a time; what a tick asks when nothing is due is counted
once and multiplied by the ticks of a day. Requests to the store are counted on their way to an S3 server on loopback.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import event, text

import postgres
from bench.figures import report
from kept_saves import make_kept_save
from overworld.domain.accounts import Quota, Role
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth
from overworld.domain.servers import Desired, Status
from overworld.domain.state import State
from overworld.saves.locations import parse_location
from overworld.saves.program import find_restic
from overworld.saves.restic import Restic
from overworld.services import schedules
from overworld.settings import Settings
from overworld.store import saving_off, schema
from overworld.store.accounts import create_account
from overworld.store.database import Database
from overworld.store.lease import CONTROLLER, acquire
from overworld.store.servers import insert_server
from overworld.store.statuses import StatusWrite, write_statuses
from overworld.worker.proving import PARTS
from overworld.worker.role import TICK_SECONDS
from s3 import BUCKET, KEY_ID, S3, SECRET

SERVERS = 1_000
DAY = timedelta(days=1)
TICKS_A_DAY = DAY.total_seconds() / TICK_SECONDS
REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")


def main() -> None:
    """Measure and report."""
    checks_a_day = measure_rows()
    asyncio.run(measure_store(checks_a_day))


def measure_rows() -> float:
    """What the database is asked; how many checks of a server are opened in a day."""
    with postgres.run_cluster() as url:
        schema.upgrade(url)
        database = Database(url, application_name="bench", pool_size=2)
        try:
            return measure_ticks(database)
        finally:
            database.close()


def measure_ticks(database: Database) -> float:
    """The same, in a database without servers."""
    began = datetime(2026, 5, 4, tzinfo=UTC)
    make_servers(database, began - timedelta(hours=1))
    given = Settings(data_folder=Path("/nowhere"))
    terms = schedules.Terms(
        cron=given.save_schedule,
        time_zone=given.save_time_zone,
        jitter=given.save_jitter,
        check_every=given.check_every,
        drill_every=given.drill_every,
        drill=given.drills,
    )

    def tick(at: datetime) -> float:
        start = time.monotonic()
        with database.transaction() as tx:
            saving_off.abandoned(tx)
        with database.transaction() as tx:
            schedules.tick(tx, terms, at)
        return time.monotonic() - start

    for _ in range(SERVERS // schedules.AT_ONCE + 1):  # every server is planned
        tick(began)
    with counted_statements(database) as at_rest:
        tick(began)
    with counted_statements(database) as statements:
        minutes = range(1, int(DAY.total_seconds()) // 60 + 1)
        longest = max(tick(began + timedelta(minutes=minute)) for minute in minutes)
    for_servers = statements.total() - at_rest.total() * len(minutes)
    a_day = at_rest.total() * TICKS_A_DAY + for_servers
    report("saves: 1,000 idle servers, SQL statements a server and day", a_day / SERVERS, "")
    report("the same without those of ticks at which nothing is due", for_servers / SERVERS, "")
    report("saves: 1,000 idle servers, longest tick", longest * 1000, "ms")
    report("saves: memory of the process that ticked", psutil.Process().memory_info().rss / 2**20, "MiB")
    with database.transaction() as tx:
        opened = Counter(tx.execute(text("SELECT kind FROM operation")).scalars())
    report("saves: 1,000 idle servers, saves opened a server and day", opened["save"] / SERVERS, "", "0")
    report("saves: 1,000 idle servers, checks opened a server and day", opened["check"] / SERVERS, "")
    return opened["check"] / SERVERS


def make_servers(database: Database, at: datetime) -> None:
    """Servers that ended before their only save."""
    ended = Condition(ConditionType.READY, Truth.FALSE, Reason.STOPPED, "Stopped.", 1, at - DAY)
    seen = Condition(ConditionType.SAVED, Truth.TRUE, Reason.SAVE_SEEN, "", 1, at - DAY)
    status = Status(observed_generation=1, conditions=(ended, seen), endpoints=(), updated_at=at, world_seen=1)
    with database.transaction() as tx:
        owner = create_account(tx, name="bench", role=Role.USER, quota=Quota(SERVERS, 10**6), now=at)
        made = [
            insert_server(
                tx,
                account_id=owner.id,
                name=f"bench-{number}",
                game="luanti",
                desired=Desired.STOPPED,
                variables={},
                memory_mib=512,
                now=at - DAY,
            ).id
            for number in range(SERVERS)
        ]
    with database.transaction() as tx:
        lease = acquire(tx, CONTROLLER, "bench", timedelta(minutes=5))
        assert lease is not None
        write_statuses(tx, lease.epoch, [StatusWrite(each, status, State.STOPPED) for each in made], at)
    for server_id in made:
        make_kept_save(database, server_id, now=at, proven_at=at)


@contextmanager
def counted_statements(database: Database) -> Iterator[Counter[str]]:
    """The SQL that the block sends, by its first word."""
    counts: Counter[str] = Counter()

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        counts[statement.split(maxsplit=1)[0]] += 1

    event.listen(database.engine, "before_cursor_execute", count)
    try:
        yield counts
    finally:
        event.remove(database.engine, "before_cursor_execute", count)


async def measure_store(checks_a_day: float) -> None:
    """What the store is asked by a save and a check of a server, and so in a day on which nobody plays."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = folder / "world"
        world.mkdir()
        for number in range(20):
            (world / f"region-{number}").write_bytes(os.urandom(3_000_000))
        store = Restic(find_restic(), folder / "cache")
        with S3(folder / "s3") as s3:
            async with counted_requests(s3.port) as (port, requests):
                url = f"s3:http://127.0.0.1:{port}/{BUCKET}/worlds"
                repository = parse_location(url, key_id=KEY_ID, secret=SECRET, region="us-east-1").repository(
                    "one", "x"
                )
                await store.ensure_repository(repository, may_make=True)
                await store.save(repository, world)
                requests.clear()
                await store.ensure_repository(repository, may_make=False)
                (world / "region-0").write_bytes(os.urandom(3_000_000))
                await store.save(repository, world, holds_lease=True)
                tell("a save of little", requests)
                requests.clear()
                await store.check(repository, subset=(1, PARTS), holds_lease=True)
                tell("a check", requests)
                lists = requests["LIST"] * checks_a_day
                report("saves: an idle server, LIST requests a day", lists, "")
                report("saves: an idle server, other requests a day", requests.total() * checks_a_day - lists, "")


def tell(what: str, requests: Counter[str]) -> None:
    """The figures of one kind of work."""
    report(f"saves: LIST requests of {what}", requests["LIST"], "")
    report(f"saves: other requests of {what}", requests.total() - requests["LIST"], "")


@asynccontextmanager
async def counted_requests(port: int) -> AsyncIterator[tuple[int, Counter[str]]]:
    """A port that leads to that one, and the requests that went through it; those that list are ``LIST``."""
    counts: Counter[str] = Counter()

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counts_them: bool) -> None:
        try:
            while chunk := await source.read(2**16):
                # A client sends the head of a request by itself, after the answer to the one before.
                if counts_them and (request := REQUEST.match(chunk)):
                    counts["LIST" if b"list-type=" in request[2] else request[1].decode()] += 1
                target.write(chunk)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, asks, counts_them=True), pass_on(answers, writer, counts_them=False))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1]), counts


if __name__ == "__main__":
    main()
