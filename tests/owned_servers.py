"""A server that somebody owns, as rows alone: nothing runs of it."""

from __future__ import annotations

from datetime import UTC, datetime

from overworld.domain.accounts import Quota, Role
from overworld.domain.servers import Desired, Server
from overworld.store.accounts import create_account
from overworld.store.database import Database
from overworld.store.servers import insert_server

OWNER = "ann"


def make_owned_server(
    database: Database, *, desired: Desired = Desired.STOPPED, name: str = "one", now: datetime | None = None
) -> Server:
    """The server, on its first world, and its owner's account."""
    at = now or datetime.now(UTC)
    with database.transaction() as tx:
        account = create_account(tx, name=OWNER, role=Role.USER, quota=Quota(10, 10_000), now=at)
        return insert_server(
            tx,
            account_id=account.id,
            name=name,
            game="luanti",
            desired=desired,
            variables={},
            memory_mib=512,
            now=at,
        )
