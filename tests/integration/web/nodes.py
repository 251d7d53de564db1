"""Nodes as a controller writes them down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from overworld.domain.nodes import NodeRecord, NodeState
from overworld.store.database import Database
from overworld.store.lease import CONTROLLER, acquire
from overworld.store.nodes import write_nodes

NODE = "aks-games-vmss000001"


def lay_node(database: Database, state: NodeState, *, uid: str = "uid-1") -> None:
    """The one node is in that state."""
    now = datetime.now(UTC)
    record = NodeRecord(NODE, uid, state, f"It is {state}.", now - timedelta(minutes=5), "azure:///x")
    with database.transaction() as tx:
        lease = acquire(tx, CONTROLLER, "tests", timedelta(minutes=1))
        assert lease is not None
        write_nodes(tx, lease.epoch, [record], forget=(), forget_words=(), events=(), now=now)
