"""What the controller reads and writes about nodes. Its work on them rests on this alone."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol as TypingProtocol

from overworld.controller.node_plan import NodePlan
from overworld.domain.activity import Presence
from overworld.domain.events import NewEvent
from overworld.domain.nodes import NodeRecord, NodeWord
from overworld.domain.servers import ServerId
from overworld.store.database import Database
from overworld.store.nodes import list_nodes, read_game, read_presences, read_words, write_nodes


@dataclass(frozen=True, slots=True)
class NodesRead:
    """``known`` is by name, ``words`` by uid; ``presences`` are fresh ones only."""

    known: Mapping[str, NodeRecord]
    words: Mapping[str, NodeWord]
    presences: Mapping[ServerId, Presence]


class NodeRows(TypingProtocol):
    """Every call raises ``Unavailable`` when the database does not answer; writes raise ``LeaseLost``."""

    async def read(self, server_ids: Collection[ServerId], since: datetime) -> NodesRead:
        """What was written, and who plays on these servers as far as it was looked at since then."""
        ...

    async def game_of(self, server_id: ServerId) -> str | None:
        """The slug of a server's game; None if there is no such server."""
        ...

    async def write(self, plan: NodePlan, events: Sequence[NewEvent], now: datetime) -> None:
        """Store what the plan says is to be stored, and tell these events, all or nothing."""
        ...


class DatabaseNodeRows:
    """``NodeRows`` in PostgreSQL, under one lease epoch."""

    def __init__(self, database: Database, epoch: int) -> None:
        self._database = database
        self._epoch = epoch

    async def read(self, server_ids: Collection[ServerId], since: datetime) -> NodesRead:
        def run() -> NodesRead:
            with self._database.transaction() as tx:
                known = {view.record.name: view.record for view in list_nodes(tx)}
                return NodesRead(known, read_words(tx), read_presences(tx, server_ids, since))

        return await asyncio.to_thread(run)

    async def game_of(self, server_id: ServerId) -> str | None:
        def run() -> str | None:
            with self._database.transaction() as tx:
                return read_game(tx, server_id)

        return await asyncio.to_thread(run)

    async def write(self, plan: NodePlan, events: Sequence[NewEvent], now: datetime) -> None:
        def run() -> None:
            with self._database.transaction() as tx:
                write_nodes(
                    tx,
                    self._epoch,
                    plan.records,
                    forget=plan.forget,
                    forget_words=plan.forget_words,
                    events=events,
                    now=now,
                )

        await asyncio.to_thread(run)
