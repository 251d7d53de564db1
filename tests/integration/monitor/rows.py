"""Rows that the other roles would write, for tests of the monitor alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from overworld.domain.accounts import Account, Quota, Role
from overworld.domain.games import Ready, Stop
from overworld.domain.observed import Launch, Want
from overworld.domain.servers import Desired, Endpoint, Server, Status
from overworld.domain.state import State
from overworld.store.accounts import create_account
from overworld.store.database import Database
from overworld.store.lease import CONTROLLER, acquire
from overworld.store.servers import insert_server
from overworld.store.statuses import StatusWrite, write_statuses

RESERVED_MIB = 512

LAUNCH = Launch(
    programs=("game",),
    arguments=(),
    environment={},
    files={},
    stop=Stop(),
    ready=Ready(line=""),
    roster=None,
    accepts_commands=False,
    log_file=None,
    install="",
)


def make_account(database: Database) -> Account:
    """An account that may own anything."""
    with database.transaction() as tx:
        return create_account(tx, name="ann", role=Role.USER, quota=Quota(10_000, 10_000_000), now=datetime.now(UTC))


def make_server(database: Database, account: Account, name: str, *, game: str = "luanti") -> Server:
    """A server that is wanted running, nothing seen of it yet."""
    with database.transaction() as tx:
        return insert_server(
            tx,
            account_id=account.id,
            name=name,
            game=game,
            desired=Desired.RUNNING,
            variables={},
            memory_mib=RESERVED_MIB,
            now=datetime.now(UTC),
        )


def see(database: Database, server: Server, state: State, endpoints: Iterable[Endpoint] = ()) -> None:
    """What the controller would write when it has seen the server in that state."""
    now = datetime.now(UTC)
    with database.transaction() as tx:
        lease = acquire(tx, CONTROLLER, "test", timedelta(minutes=5))
        assert lease is not None
        status = Status(server.generation, (), tuple(endpoints), now)
        write_statuses(tx, lease.epoch, [StatusWrite(server.id, status, state)], now)


def want(server: Server, *, running: bool) -> Want:
    """What the planner would want of it."""
    return Want(server.id, server.number, running, 0, "hash", 1, RESERVED_MIB, ())
