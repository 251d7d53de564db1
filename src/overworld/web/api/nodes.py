"""The nodes of the cluster, for admins; to others there are none."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from overworld.domain.nodes import NodeState
from overworld.services import nodes as service
from overworld.store.nodes import NodeView
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import PLAIN_TEXT, Given, Shown

routes = Routes("nodes", "Machines of the cluster that carry games (admins only).")


class NodeWordEntry(Shown):
    """Somebody's word that a node is off."""

    account_id: str
    said_at: datetime


class NodeEntry(Shown):
    """A node, as the controller saw it last."""

    name: str
    uid: str = Field(description="Of this very node: one that is removed and comes back has another.")
    state: NodeState
    message: str = Field(description="What it does or waits for, in a sentence.")
    since: datetime = Field(description="When its state began.")
    servers: int = Field(description="How many servers were last seen on it.")
    provider_id: str = Field(description="Its machine in the cloud; empty without one.")
    word: NodeWordEntry | None = Field(description="An operator's word that it is off; forgotten when it answers.")
    updated_at: datetime


class NodeList(Shown):
    """All nodes; they fit on one page."""

    items: list[NodeEntry]
    next_page_token: None = None


class NodeLossGiven(Given):
    """The word that a node is off."""

    uid: Annotated[str, Field(min_length=1, max_length=100, pattern=PLAIN_TEXT)] = Field(
        description="The node's `uid`, as you saw it: the word never counts for another node of the same name."
    )


def show_node(view: NodeView) -> NodeEntry:
    """The node as clients see it."""
    record, word = view.record, view.word
    return NodeEntry(
        name=record.name,
        uid=record.uid,
        state=record.state,
        message=record.message,
        since=record.since,
        servers=view.servers,
        provider_id=record.provider_id,
        word=None if word is None else NodeWordEntry(account_id=word.account_id, said_at=word.said_at),
        updated_at=view.updated_at,
    )


@routes.route("GET", "/nodes", Answer(200, "All nodes, by name.", NodeList), problems=(404,))
def list_nodes(call: Call) -> Reply:
    """List the nodes that carry games (admins only)."""
    return Reply(200, NodeList(items=[show_node(view) for view in service.list_nodes(call.tx, call.actor)]))


@routes.route("GET", "/nodes/<node_name>", Answer(200, "The node.", NodeEntry))
def show(call: Call, node_name: str) -> Reply:
    """Show one node (admins only)."""
    return Reply(200, show_node(service.find(call.tx, call.actor, node_name)))


@routes.route(
    "POST",
    "/nodes/<node_name>/confirm-lost",
    Answer(200, "The node, with the word on it. Its servers start elsewhere within seconds.", NodeEntry),
    body=NodeLossGiven,
    problems=(409,),
)
def confirm_lost(call: Call, node_name: str, body: NodeLossGiven) -> Reply:
    """Say that a node which does not answer is off and stays off until it boots anew (admins only).

    Its servers are then started on other nodes. If the machine still runs, two games write each of their worlds, which
    destroys them: make sure first. Refused while the node answers.
    """
    return Reply(200, show_node(service.confirm_lost(call.tx, call.actor, node_name, body.uid, call.now)))
