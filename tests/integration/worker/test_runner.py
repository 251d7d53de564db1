"""Jobs that fail, and jobs whose worker dies: they are not the same."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from overworld.domain.errors import SaveStoreUnavailable
from overworld.domain.operations import Operation, OperationKind, Outcome
from overworld.domain.servers import Desired
from overworld.store import operations
from overworld.store.database import Database
from overworld.worker.job import Job
from overworld.worker.runner import RETRIES, Done, Handler, Runner, nothing_to_tidy
from owned_servers import make_owned_server

ID = "save-1"


@pytest.fixture
def asked(database: Database) -> Operation:
    """A save that somebody asked for."""
    server = make_owned_server(database, desired=Desired.RUNNING)
    operation = Operation(ID, server.id, server.account_id, OperationKind.SAVE, 1, server.created_at)
    with database.transaction() as tx:
        operations.insert_operation(tx, operation)
    return operation


class Work:
    """A job that a test can hold up, and that fails."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.may_fail = asyncio.Event()

    async def run(self, _job: Job) -> Done:
        """The job."""
        self.began.set()
        await self.may_fail.wait()
        raise SaveStoreUnavailable("The save store does not answer.")


def runner(database: Database, work: Work, number: int) -> Runner:
    """A worker of its own."""
    handlers = {OperationKind.SAVE: Handler(work.run, nothing_to_tidy, "SaveFailed")}
    return Runner(database, handlers, f"worker-{number}", at_most=8, here=2)


async def test_a_worker_that_dies_is_no_failure_of_its_job(database: Database, asked: Operation) -> None:
    """However many died over it: the first failure is put off for as long as a first one is, not for an hour."""
    for number in range(len(RETRIES) + 1):
        work = Work()
        dying = asyncio.create_task(runner(database, work, number).work(ID))
        await asyncio.wait_for(work.began.wait(), 20)
        dying.cancel()
        with suppress(asyncio.CancelledError):
            await dying
    work = Work()
    work.may_fail.set()
    for failures in range(1, len(RETRIES) + 1):
        await runner(database, work, 100).work(ID)
        seen = look(database)
        assert seen.outcome is Outcome.RUNNING
        assert seen.progress is not None
        says = re.search(rf"Attempt {failures + 1} follows at (\d\d:\d\d:\d\d) UTC", seen.progress.message)
        expected = datetime.now(UTC) + timedelta(seconds=RETRIES[failures - 1])
        assert says is not None
        assert says[1] in {f"{expected - timedelta(seconds=late):%H:%M:%S}" for late in range(30)}
    await runner(database, work, 100).work(ID)
    seen = look(database)
    assert (seen.outcome, seen.reason) == (Outcome.FAILED, "SaveStoreUnavailable")
    assert f"Given up after {len(RETRIES) + 1} attempts" in seen.message


def look(database: Database) -> Operation:
    """How the save is now."""
    with database.transaction() as tx:
        found = operations.find_operation(tx, ID, None)
    assert found is not None
    return found
