"""The nodes of the cluster: what admins see of them, and the word that only a person can give."""

from __future__ import annotations

from datetime import datetime

import structlog

from overworld.domain.accounts import Action, Actor, may
from overworld.domain.errors import Conflict, NotFound
from overworld.domain.nodes import NodeState, NodeWord
from overworld.store import nodes as rows
from overworld.store.database import Transaction
from overworld.store.nodes import NodeView

SILENT_STATES = frozenset({NodeState.SILENT, NodeState.UNCONFIRMED, NodeState.NEEDS_WORD, NodeState.LOST})

log = structlog.get_logger(__name__)


def list_nodes(tx: Transaction, actor: Actor) -> list[NodeView]:
    """Every node that carries games, ordered by name. Raises NotFound for who is no admin: nodes are the operator's."""
    _check(actor)
    return rows.list_nodes(tx)


def find(tx: Transaction, actor: Actor, name: str) -> NodeView:
    """The node of that name. Raises NotFound."""
    _check(actor)
    view = rows.find_node(tx, name)
    if view is None:
        raise NotFound(f"There is no node {name} that carries games.")
    return view


def confirm_lost(tx: Transaction, actor: Actor, name: str, uid: str, now: datetime) -> NodeView:
    """The actor's word that the node of this name and uid is off is stored, for the silence that it is in now: the
    controller frees its servers. Raises NotFound; Conflict if the node answers, or if there is another node of that
    name by now. Safe to call twice."""
    view = find(tx, actor, name)
    record = view.record
    if record.uid != uid:
        raise Conflict(f"The node {name} is another one by now (its uid is {record.uid}). Look at it again.")
    if record.state not in SILENT_STATES:
        raise Conflict(
            f"The node {name} answers (it is {record.state}), so its games write their worlds. To empty it, cordon it."
        )
    log.warning("an operator says that a node is off", node=name, uid=uid, account_id=actor.account_id)
    rows.write_word(tx, NodeWord(uid=uid, name=name, account_id=actor.account_id, said_at=now))
    return find(tx, actor, name)


def _check(actor: Actor) -> None:
    if not may(actor, Action.MANAGE_NODES):
        raise NotFound("There is no such thing, or you may not see it.")
