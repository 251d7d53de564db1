"""What to do about nodes that do not answer, that are to be emptied, or that came back. Pure: everything is decided
here from one look at the world, and execution makes no choices.

Two promises, held by a test of random histories: nothing is ever freed from a node that may still write a world
(``fates``), and once the world stands still, so does the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from overworld.cloud.base import MachineState
from overworld.controller.drains import Draining, drain_within, plan_drain, plan_occupancy, say_why_draining
from overworld.controller.fates import CONFIRMED, LOST_TAINT, confirm_lost, has_taint, is_marked_by_us
from overworld.controller.node_plan import (
    Action,
    ClearLost,
    MarkLost,
    NodePlan,
    NodeRules,
    NodeWorld,
    PowerOff,
    Release,
)
from overworld.controller.sentences import say_time
from overworld.domain.activity import Presence
from overworld.domain.events import NewEvent
from overworld.domain.nodes import Guest, LossProof, NodeRecord, NodeSeen, NodeState
from overworld.domain.servers import ServerId

GAME_LABEL = ("workload", "gameserver")
"""Of the nodes that game pods are scheduled to."""

_IN_TROUBLE = {NodeState.UNCONFIRMED, NodeState.NEEDS_WORD, NodeState.LOST}


def needs_fate(world: NodeWorld, rules: NodeRules, now: datetime) -> tuple[NodeSeen, ...]:
    """The nodes whose machines the cloud has to be asked about before anything is decided."""
    by_node = world.by_node()
    return tuple(
        node
        for node in world.nodes
        if not node.is_ready
        and node.name in by_node
        and now - node.ready_since >= rules.loss_grace
        and confirm_lost(node, None, world.words.get(node.uid)) is None
    )


def plan_nodes(world: NodeWorld, rules: NodeRules, now: datetime) -> NodePlan:
    """The plan for all nodes."""
    by_node = world.by_node()
    ours = [node for node in world.nodes if _is_ours(node, by_node)]
    silent = sum(not node.is_ready for node in ours)
    is_widespread = silent > 1 and 2 * silent > len(ours)
    parts = [_Look(node, by_node.get(node.name, ()), world, rules, now, is_widespread).plan() for node in ours]
    names = {node.name for node in world.nodes}
    left = [guest for guest in world.guests if guest.node not in names]
    records = [part.record for part in parts]
    changed = [record for record in records if world.known.get(record.name) != record]
    return NodePlan(
        actions=(
            *(action for part in parts for action in part.actions),
            *(Release(guest, None, CONFIRMED[LossProof.REMOVED]) for guest in left),
            *plan_occupancy(world.guests, world.presences, {part.record.name for part in parts if part.is_alive}),
        ),
        records=tuple(changed),
        forget=tuple(sorted(world.known.keys() - {record.name for record in records})),
        forget_words=tuple(sorted(_spent_words(world))),
        events=tuple(event for record in changed for event in _events(record, world)),
        troubles={server_id: part.trouble for part in parts if part.trouble for server_id in part.server_ids},
        is_calm=not left and not any(part.is_busy for part in parts),
    )


def told_troubles(world: NodeWorld) -> Mapping[ServerId, str]:
    """What was last written of the nodes in trouble, for the servers on them: for a controller that has only just
    begun to look."""
    silent = {(node.name, node.uid) for node in world.nodes if not node.is_ready}
    return {
        guest.server_id: _for_guest(record)
        for guest in world.guests
        if (record := world.known.get(guest.node)) is not None
        and record.state in _IN_TROUBLE
        and (record.name, record.uid) in silent
    }


def _is_ours(node: NodeSeen, by_node: Mapping[str, object]) -> bool:
    """Whether it is a node for games, or has any."""
    key, value = GAME_LABEL
    return node.labels.get(key) == value or node.name in by_node


def _for_guest(record: NodeRecord) -> str:
    """A node's sentence, which begins with "It", in a sentence of a server on it."""
    return f"Its node {record.name} {record.message.removeprefix('It ')}"


def _spent_words(world: NodeWorld) -> Iterator[str]:
    """The words on nodes that answer again, or that are no more."""
    silent = {node.uid for node in world.nodes if not node.is_ready}
    return (uid for uid in world.words if uid not in silent)


def _events(record: NodeRecord, world: NodeWorld) -> Iterator[NewEvent]:
    """For the owners of what is on a node that begins to be emptied. Of a lost node their own conditions tell."""
    known = world.known.get(record.name)
    is_new = known is None or (known.uid, known.state) != (record.uid, record.state)
    if record.state is NodeState.DRAINING and is_new:
        for guest in world.guests:
            if guest.node == record.name:
                yield NewEvent(guest.server_id, "NodeDraining", _for_guest(record))


@dataclass(frozen=True, slots=True)
class _Part:
    """The plan for one node. ``trouble`` is what its servers say instead of what their pods say."""

    record: NodeRecord
    actions: tuple[Action, ...] = ()
    trouble: str = ""
    server_ids: tuple[ServerId, ...] = ()
    is_alive: bool = False
    is_busy: bool = False


@dataclass(frozen=True, slots=True)
class _Wait:
    """What a silent node waits for."""

    says: str
    actions: tuple[Action, ...] = ()
    state: NodeState = NodeState.UNCONFIRMED


@dataclass(frozen=True, slots=True)
class _Look:
    """One node, and all that there is to know when it is decided about. ``is_widespread``: most nodes are silent, which
    looks like a fault of the cluster and not of each of them."""

    node: NodeSeen
    guests: Sequence[Guest]
    world: NodeWorld
    rules: NodeRules
    now: datetime
    is_widespread: bool

    def plan(self) -> _Part:
        """The plan for it."""
        if not self.node.is_ready:
            return self._plan_silent()
        if is_marked_by_us(self.node):
            return self._plan_returned()
        why = say_why_draining(self.node)
        if why is not None:
            return self._plan_draining(why)
        return _Part(self._record(NodeState.READY, "It answers."), is_alive=True)

    # --- It answers.

    def _plan_returned(self) -> _Part:
        # With pods left on it, the mark itself makes them end, gracefully, now that its kubelet is back.
        says = "It answers again, and gets no servers until what is left on it has ended."
        record = self._record(NodeState.RETURNED, says)
        return _Part(record, () if self.guests else (ClearLost(self.node),), is_busy=True)

    def _plan_draining(self, why: str) -> _Part:
        since = self._since(NodeState.DRAINING)
        deadline = since + drain_within(why, self.rules.drain_deadline)
        says = (
            f"It takes no new servers: {why}. What runs on it moves when nobody plays, at {say_time(deadline)} at last."
        )
        record = self._record(NodeState.DRAINING, says)
        draining = Draining(self.node, deadline, why)
        actions = plan_drain(draining, self.guests, self.world.presences, self.world.warned, self.now)
        return _Part(record, actions, is_alive=True, is_busy=bool(self.guests))

    # --- It does not.

    def _plan_silent(self) -> _Part:
        fate, word = self.world.fates.get(self.node.uid), self.world.words.get(self.node.uid)
        proof = confirm_lost(self.node, fate, word)
        began = f"It has not answered since {say_time(self.node.ready_since)}"
        if proof is not None:
            return self._plan_lost(proof, began)
        if not self.guests:
            if is_marked_by_us(self.node) and (known := self._known_as_lost()) is not None:
                return _Part(known)
            says = f"{began}; no server is on it."
            return _Part(self._silent(NodeState.SILENT, says))
        asked_at = self.node.ready_since + self.rules.loss_grace
        if self.now < asked_at:
            says = f"{began}. If it stays silent until {say_time(asked_at)}, it is found out whether its machine runs."
            return _Part(self._silent(NodeState.SILENT, says), is_busy=True)
        waits = self._wait_for(fate)
        record = self._silent(waits.state, f"{began}: {waits.says}")
        return self._in_trouble(record, waits.actions)

    def _plan_lost(self, proof: LossProof, began: str) -> _Part:
        because = CONFIRMED[proof]
        record = self._silent(NodeState.LOST, f"{began} and is lost, for {because}: its servers start elsewhere.")
        if not self.guests:
            return _Part(self._known_as_lost() or record)  # how it was found out does not change any more
        marking = () if has_taint(self.node, LOST_TAINT) else (MarkLost(self.node),)
        releases = tuple(Release(guest, self.node, because) for guest in self.guests)
        return self._in_trouble(record, (*marking, *releases))

    def _known_as_lost(self) -> NodeRecord | None:
        known = self.world.known.get(self.node.name)
        as_lost = (self.node.uid, NodeState.LOST, self.node.ready_since)
        return known if known is not None and (known.uid, known.state, known.since) == as_lost else None

    def _wait_for(self, fate: MachineState | None) -> _Wait:
        refusal = self.world.refusals.get(self.node.uid)
        if fate is None and refusal is None:
            return _Wait("the cloud is being asked whether its machine still runs.")
        if fate is not MachineState.RUNNING:
            return self._needs_word(refusal)
        return self._wait_for_power_off(refusal)

    def _wait_for_power_off(self, refusal: str | None) -> _Wait:
        if any(self.world.presences.get(guest.server_id) is Presence.ACTIVE for guest in self.guests):
            says = "its machine runs, and players are still seen on it: it is left alone as long as they are."
            return _Wait(says)
        off_at = self.node.ready_since + self.rules.power_off_after
        if self.now < off_at:
            says = (
                f"its machine runs. If it stays silent until {say_time(off_at)}, it is powered off, so that nothing on"
            )
            return _Wait(f"{says} it writes a world any more; then its servers start elsewhere.")
        if self.is_widespread:
            return self._needs_word("Its machine runs, and it is not powered off: most nodes fell silent together.")
        pull = (PowerOff(self.node),)
        if refusal is not None:
            return self._needs_word(refusal, pull)
        says = "its machine runs and is being powered off, so that nothing on it writes a world any more; then its"
        return _Wait(f"{says} servers start elsewhere.", pull)

    def _needs_word(self, refusal: str | None, actions: tuple[Action, ...] = ()) -> _Wait:
        says = (
            "an operator has to make sure that its machine is off and to say so with `overworld node confirm-lost "
            f"{self.node.name}`. Nothing starts elsewhere before: two games on one world would destroy it."
        )
        return _Wait(says if refusal is None else f"{says} ({refusal})", actions, NodeState.NEEDS_WORD)

    def _in_trouble(self, record: NodeRecord, actions: tuple[Action, ...]) -> _Part:
        server_ids = tuple(guest.server_id for guest in self.guests)
        return _Part(record, actions, _for_guest(record), server_ids, is_busy=True)

    # --- Its record.

    def _silent(self, state: NodeState, says: str) -> NodeRecord:
        """Of a node that does not answer, every state began when it fell silent."""
        node = self.node
        return NodeRecord(node.name, node.uid, state, says, node.ready_since, node.provider_id)

    def _record(self, state: NodeState, says: str) -> NodeRecord:
        node = self.node
        return NodeRecord(node.name, node.uid, state, says, self._since(state), node.provider_id)

    def _since(self, state: NodeState) -> datetime:
        known = self.world.known.get(self.node.name)
        if known is not None and (known.uid, known.state) == (self.node.uid, state):
            return known.since
        return self.node.ready_since if state is NodeState.READY else self.now
