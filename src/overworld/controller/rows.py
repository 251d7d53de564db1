"""The controller's view of the database: what it reads and writes, each call one transaction off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol as TypingProtocol

from overworld.domain.addresses import AddressLease
from overworld.domain.events import NewEvent
from overworld.domain.servers import Desired, ServerId
from overworld.store import addresses
from overworld.store.database import Database
from overworld.store.events import insert_events
from overworld.store.ports import PortLease, lease_offered, leased_ports
from overworld.store.servers import ServerRecord, all_ids, due_ids, load_many, lock_server, purge_server
from overworld.store.statuses import StatusWrite, write_statuses


class Rows(TypingProtocol):
    """Every call raises ``Unavailable`` when the database does not answer; writes raise ``LeaseLost``."""

    async def load(self, ids: Sequence[ServerId]) -> Mapping[ServerId, ServerRecord]:
        """Those of the servers that exist, as they are now."""
        ...

    async def due_ids(self) -> Iterable[ServerId]:
        """The servers whose newest spec was not looked at yet."""
        ...

    async def all_ids(self) -> Iterable[ServerId]:
        """Every server."""
        ...

    async def leased_ports(self) -> set[int]:
        """Every port that belongs to a server."""
        ...

    async def lease_offered(
        self, offers: Mapping[ServerId, Sequence[PortLease]]
    ) -> Mapping[ServerId, Sequence[PortLease]]:
        """Lease the offered ports; what each server holds afterwards, which may lack some that others hold."""
        ...

    async def store_address(self, epoch: int, lease: AddressLease, events: Sequence[NewEvent], now: datetime) -> None:
        """Store what the cloud has made of a lease (itself too, where there was none), and what is to be told of it."""
        ...

    async def write(self, epoch: int, writes: Sequence[StatusWrite], now: datetime) -> None:
        """Store statuses, events and verdicts, all or nothing."""
        ...

    async def is_still_deleted(self, server_id: ServerId, generation: int) -> bool:
        """Whether the spec is still that of a deleted server at that generation, after every edit under way ended."""
        ...

    async def purge(self, epoch: int, last: StatusWrite, now: datetime) -> None:
        """Store the last events and verdicts of a server and forget its rows."""
        ...


class DatabaseRows:
    """``Rows`` in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, ids: Sequence[ServerId]) -> Mapping[ServerId, ServerRecord]:
        def run() -> Mapping[ServerId, ServerRecord]:
            with self._database.transaction() as tx:
                return load_many(tx, ids)

        return await asyncio.to_thread(run)

    async def due_ids(self) -> Iterable[ServerId]:
        def run() -> Iterable[ServerId]:
            with self._database.transaction() as tx:
                return due_ids(tx)

        return await asyncio.to_thread(run)

    async def all_ids(self) -> Iterable[ServerId]:
        def run() -> Iterable[ServerId]:
            with self._database.transaction() as tx:
                return all_ids(tx)

        return await asyncio.to_thread(run)

    async def leased_ports(self) -> set[int]:
        def run() -> set[int]:
            with self._database.transaction() as tx:
                return leased_ports(tx)

        return await asyncio.to_thread(run)

    async def lease_offered(
        self, offers: Mapping[ServerId, Sequence[PortLease]]
    ) -> Mapping[ServerId, Sequence[PortLease]]:
        def run() -> Mapping[ServerId, Sequence[PortLease]]:
            with self._database.transaction() as tx:
                return lease_offered(tx, offers)

        return await asyncio.to_thread(run)

    async def store_address(self, epoch: int, lease: AddressLease, events: Sequence[NewEvent], now: datetime) -> None:
        def run() -> None:
            with self._database.transaction() as tx:
                addresses.lease_address(tx, lease)
                addresses.write_address(tx, epoch, lease)
                insert_events(tx, events, now)

        await asyncio.to_thread(run)

    async def write(self, epoch: int, writes: Sequence[StatusWrite], now: datetime) -> None:
        def run() -> None:
            with self._database.transaction() as tx:
                write_statuses(tx, epoch, writes, now)

        await asyncio.to_thread(run)

    async def is_still_deleted(self, server_id: ServerId, generation: int) -> bool:
        def run() -> bool:
            with self._database.transaction() as tx:
                view = lock_server(tx, server_id, None)
            if view is None or view.server.id != server_id:
                return False
            return view.server.desired is Desired.DELETED and view.server.generation == generation

        return await asyncio.to_thread(run)

    async def purge(self, epoch: int, last: StatusWrite, now: datetime) -> None:
        def run() -> None:
            with self._database.transaction() as tx:
                write_statuses(tx, epoch, [last], now)
                purge_server(tx, last.server_id, now)

        await asyncio.to_thread(run)
