"""Nodes as the controller wrote them down, and what operators said of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from overworld.domain.activity import Presence
from overworld.domain.events import NewEvent
from overworld.domain.nodes import NodeRecord, NodeState, NodeWord
from overworld.domain.servers import ServerId
from overworld.store.codecs import clean_text
from overworld.store.database import Transaction
from overworld.store.events import insert_events
from overworld.store.lease import CONTROLLER, check_epoch
from overworld.store.tables import node, node_word, server, server_activity, server_status

LOST = "lost"
"""The one word that there is."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node, what was last said of it, and how many servers were seen on it."""

    record: NodeRecord
    updated_at: datetime
    word: NodeWord | None
    servers: int


_UPSERT = text("""
    INSERT INTO node (name, uid, provider_id, state, message, since, updated_at)
    SELECT given.name, given.uid, given.provider_id, given.state, given.message, given.since, :now
    FROM jsonb_to_recordset(CAST(:records AS jsonb))
        AS given (name text, uid text, provider_id text, state text, message text, since timestamptz)
    ORDER BY given.name
    ON CONFLICT (name) DO UPDATE SET
        uid = excluded.uid,
        provider_id = excluded.provider_id,
        state = excluded.state,
        message = excluded.message,
        since = excluded.since,
        updated_at = excluded.updated_at
""")


def list_nodes(tx: Transaction) -> list[NodeView]:
    """Every node, ordered by name, by one statement."""
    return [_read_view(row) for row in tx.execute(_views().order_by(node.c.name))]


def find_node(tx: Transaction, name: str) -> NodeView | None:
    """The node of that name."""
    row = tx.execute(_views().where(node.c.name == name)).one_or_none()
    return None if row is None else _read_view(row)


def write_nodes(
    tx: Transaction,
    epoch: int,
    records: Sequence[NodeRecord],
    *,
    forget: Collection[str],
    forget_words: Collection[str],
    events: Sequence[NewEvent],
    now: datetime,
) -> None:
    """Store what was seen of nodes, forget those of these names and the words on those of these uids, and tell.

    Raises ``LeaseLost``, before anything is written, unless ``epoch`` is that of the controller's lease. Safe to
    repeat, but for the events.
    """
    check_epoch(tx, CONTROLLER, epoch)
    if records:
        rows = [_write_record(record) for record in records]
        tx.execute(_UPSERT, {"records": json.dumps(rows), "now": now})
    if forget:
        tx.execute(delete(node).where(node.c.name.in_(forget)))
    if forget_words:
        tx.execute(delete(node_word).where(node_word.c.uid.in_(forget_words)))
    insert_events(tx, events, now)


def read_words(tx: Transaction) -> dict[str, NodeWord]:
    """Every word that was given and not forgotten, by the node's uid."""
    return {row.uid: _read_word(row) for row in tx.execute(select(node_word))}


def write_word(tx: Transaction, word: NodeWord) -> None:
    """Remember the word; a later one on the same node takes the place of an earlier."""
    given = insert(node_word).values(
        uid=word.uid, name=word.name, word=LOST, account_id=word.account_id, said_at=word.said_at
    )
    tx.execute(
        given.on_conflict_do_update(
            index_elements=[node_word.c.uid],
            set_={
                "name": given.excluded.name,
                "account_id": given.excluded.account_id,
                "said_at": given.excluded.said_at,
            },
        )
    )


def read_presences(tx: Transaction, server_ids: Collection[ServerId], since: datetime) -> Mapping[ServerId, Presence]:
    """Who plays on these servers, as far as it was looked at since then: what is not in it is unknown."""
    rows = tx.execute(
        select(server_activity.c.server_id, server_activity.c.presence)
        .where(server_activity.c.server_id == func.any(list(server_ids)))
        .where(server_activity.c.seen_at >= since)
    )
    return {row.server_id: Presence(row.presence) for row in rows}


def read_game(tx: Transaction, server_id: ServerId) -> str | None:
    """The slug of the server's game; None if there is no such server."""
    slug: str | None = tx.execute(select(server.c.game).where(server.c.id == server_id)).scalar_one_or_none()
    return slug


def _views() -> Any:
    servers = (
        select(func.count())
        .select_from(server_status)
        .where(server_status.c.node == node.c.name)
        .scalar_subquery()
        .label("servers")
    )
    word = (node_word.c.account_id, node_word.c.said_at)
    return select(node, *word, servers).outerjoin(node_word, node_word.c.uid == node.c.uid)


def _read_view(row: Row[Any]) -> NodeView:
    record = NodeRecord(
        name=row.name,
        uid=row.uid,
        state=NodeState(row.state),
        message=row.message,
        since=row.since.astimezone(UTC),
        provider_id=row.provider_id,
    )
    word = None
    if row.said_at is not None:
        word = NodeWord(row.uid, row.name, row.account_id, row.said_at.astimezone(UTC))
    return NodeView(record, row.updated_at.astimezone(UTC), word, row.servers)


def _read_word(row: Row[Any]) -> NodeWord:
    return NodeWord(row.uid, row.name, row.account_id, row.said_at.astimezone(UTC))


def _write_record(record: NodeRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "uid": record.uid,
        "provider_id": record.provider_id,
        "state": record.state,
        "message": clean_text(record.message),
        "since": record.since.isoformat(),
    }
