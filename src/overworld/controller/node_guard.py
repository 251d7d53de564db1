"""Looks at the nodes again and again: reads what is known, plans (``nodes``), carries the plan out, writes it down.

Makes no choices. What it keeps in memory may be lost at any time: a controller that begins anew asks the cloud again,
and repeats at most a warning to players.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from overworld.cloud.base import Cloud, MachineState
from overworld.controller.drains import Move, Occupy, Warn
from overworld.controller.metrics import NODE_ACTIONS, NODES
from overworld.controller.node_plan import (
    Action,
    ClearLost,
    MarkLost,
    NodePlan,
    NodeRules,
    NodeWorld,
    PowerOff,
    Release,
    event_of,
)
from overworld.controller.node_rows import NodeRows
from overworld.controller.nodes import needs_fate, plan_nodes, told_troubles
from overworld.domain.errors import CloudRefused, OverworldError
from overworld.domain.events import NewEvent
from overworld.domain.nodes import NodeSeen, NodeState
from overworld.domain.servers import ServerId
from overworld.engines.nodes import Nodes
from overworld.games.catalogue import Catalogue
from overworld.games.launch import render_announcement
from overworld.store.lease import LeaseLost

CALM_SECONDS = 5.0
BUSY_SECONDS = 1.0
REFUSED_PAUSE = timedelta(minutes=1)
"""After a cloud's no to a power-off: somebody has to act before another try makes sense."""
MARKS_AT_ONCE = 16

log = structlog.get_logger(__name__)


class NodeGuard:
    """The nodes under one leadership. ``fresh`` is how old a look at a server may be and still count as knowing who
    plays; ``wake`` is called with every server of which something else is to be said."""

    def __init__(
        self,
        nodes: Nodes,
        cloud: Cloud,
        rows: NodeRows,
        catalogue: Catalogue,
        wake: Callable[[ServerId], None],
        *,
        rules: NodeRules,
        fresh: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._nodes = nodes
        self._cloud = cloud
        self._rows = rows
        self._catalogue = catalogue
        self._wake = wake
        self._rules = rules
        self._fresh = fresh
        self._clock = clock
        self._troubles: Mapping[ServerId, str] = {}
        self._warned: dict[tuple[str, ServerId], timedelta] = {}
        self._unasked: dict[str, str] = {}
        self._unpowered: dict[str, tuple[str, datetime]] = {}
        self._pulling: dict[str, asyncio.Task[None]] = {}

    def trouble_of(self, server_id: ServerId) -> str | None:
        """What to say of a server whose node does not answer; None of every other."""
        return self._troubles.get(server_id)

    async def begin(self) -> None:
        """What was said of the nodes before is said again until the first look. Raises ``Unavailable``."""
        self._troubles = told_troubles(await self._read(self._clock()))

    async def run(self) -> None:
        """Look until cancelled, at once when a node changes. Raises ``LeaseLost``."""
        try:
            while True:
                is_calm = True
                try:
                    is_calm = (await self.look()).is_calm
                except LeaseLost:
                    raise
                except OverworldError as error:
                    log.warning("the nodes cannot be looked after yet", error=error.detail)
                except Exception:
                    log.exception("a look at the nodes failed")
                await asyncio.sleep(BUSY_SECONDS)
                if is_calm:
                    await self._rest()
        finally:
            for task in self._pulling.values():
                task.cancel()
            await asyncio.gather(*self._pulling.values(), return_exceptions=True)

    async def look(self) -> NodePlan:
        """One look, and all that follows from it; the plan. Safe to be killed in, and to repeat."""
        if not self._nodes.is_complete:
            return NodePlan(is_calm=False)
        now = self._clock()
        world = await self._read(now)
        # Asked after the nodes were seen: an answer is about a silence that had begun.
        fates = await self._ask(needs_fate(world, self._rules, now))
        world = NodeWorld(
            nodes=world.nodes,
            guests=world.guests,
            presences=world.presences,
            known=world.known,
            words=world.words,
            fates=fates,
            refusals=self._unasked | {uid: says for uid, (says, _) in self._unpowered.items()},
            warned=self._warned,
        )
        plan = plan_nodes(world, self._rules, now)
        self._tell(plan.troubles)
        events = [*plan.events, *await self._carry_out(plan.actions)]
        if plan.records or plan.forget or plan.forget_words or events:
            await self._rows.write(plan, events, now)
        self._count(world, plan)
        return plan

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(CALM_SECONDS - BUSY_SECONDS):
                await self._nodes.until_changed()
        except TimeoutError:
            return

    async def _read(self, now: datetime) -> NodeWorld:
        nodes, guests = self._nodes.seen(), self._nodes.guests()
        read = await self._rows.read({guest.server_id for guest in guests}, now - self._fresh)
        return NodeWorld(nodes=nodes, guests=guests, presences=read.presences, known=read.known, words=read.words)

    async def _ask(self, nodes: Iterable[NodeSeen]) -> Mapping[str, MachineState]:
        asked = list(nodes)
        self._unasked = {uid: says for uid, says in self._unasked.items() if uid in {node.uid for node in asked}}
        answers = await asyncio.gather(*(self._ask_one(node) for node in asked))
        return {node.uid: answer for node, answer in zip(asked, answers, strict=True) if answer is not None}

    async def _ask_one(self, node: NodeSeen) -> MachineState | None:
        try:
            state = await self._cloud.machine_state(node.provider_id)
        except CloudRefused as error:
            self._unasked[node.uid] = error.detail
            return None
        except OverworldError as error:
            log.warning("the cloud does not say what became of a machine", node=node.name, error=error.detail)
            return None
        self._unasked.pop(node.uid, None)
        return state

    def _tell(self, troubles: Mapping[ServerId, str]) -> None:
        before, self._troubles = self._troubles, troubles
        for server_id in before.keys() | troubles.keys():
            if before.get(server_id) != troubles.get(server_id):
                self._wake(server_id)

    # --- What is done

    async def _carry_out(self, actions: Iterable[Action]) -> list[NewEvent]:
        """In order, each node's until one fails; the events of those that were carried out."""
        events: list[NewEvent] = []
        failed: set[str] = set()
        marks: list[Occupy] = []
        for action in actions:
            if isinstance(action, Occupy):
                marks.append(action)
                continue
            name = _node_of(action)
            if name in failed:
                continue
            if not await self._try(action, self._do(action)):
                failed.add(name)
            elif (event := event_of(action)) is not None:
                events.append(event)
        limit = asyncio.Semaphore(MARKS_AT_ONCE)

        async def mark(action: Occupy) -> None:
            async with limit:
                doing = self._nodes.occupy(action.guest, occupied=action.occupied, held=action.held)
                await self._try(action, doing)

        await asyncio.gather(*(mark(action) for action in marks))
        return events

    async def _try(self, action: Action, doing: Awaitable[None]) -> bool:
        name = type(action).__name__
        try:
            await doing
        except OverworldError as error:
            NODE_ACTIONS.labels(name, "failed").inc()
            log.warning("something about a node cannot be done yet", action=name, error=error.detail)
            return False
        NODE_ACTIONS.labels(name, "done").inc()
        if not isinstance(action, Occupy | PowerOff):
            log.warning(
                "something was done about a node", action=name, node=_node_of(action), server_id=_server_of(action)
            )
        return True

    async def _do(self, action: Action) -> None:
        match action:
            case PowerOff(node=node):
                self._power_off(node)
            case MarkLost(node=node):
                await self._nodes.mark_lost(node)
            case ClearLost(node=node):
                await self._nodes.clear_lost(node)
            case Release(guest=guest, node=seen):
                await self._nodes.release(guest, seen)
            case Move(guest=guest):
                await self._nodes.move(guest)
            case Warn():
                await self._warn(action)

    def _power_off(self, node: NodeSeen) -> None:
        """Begin, unless it is under way or was refused just now: it takes up to a minute or two."""
        refused = self._unpowered.get(node.uid)
        if node.uid in self._pulling or (refused is not None and self._clock() - refused[1] < REFUSED_PAUSE):
            return
        log.warning("a machine that does not answer is powered off", node=node.name, machine=node.provider_id)
        task = asyncio.get_running_loop().create_task(self._pull(node))
        self._pulling[node.uid] = task
        task.add_done_callback(lambda _: self._pulling.pop(node.uid, None))

    async def _pull(self, node: NodeSeen) -> None:
        try:
            await self._cloud.power_off(node.provider_id)
        except CloudRefused as error:
            self._unpowered[node.uid] = (error.detail, self._clock())
            log.warning("the cloud does not power a machine off", node=node.name, error=error.detail)
        except OverworldError as error:
            log.warning("a machine is not off yet", node=node.name, error=error.detail)
        except Exception:
            log.exception("powering a machine off failed", node=node.name)
        else:
            self._unpowered.pop(node.uid, None)

    async def _warn(self, warning: Warn) -> None:
        """Once at each mark, also where the game could not be told: the next mark is another chance."""
        guest = warning.guest
        self._warned[warning.uid, guest.server_id] = warning.mark
        slug = await self._rows.game_of(guest.server_id)
        game = self._catalogue.find(slug) if slug is not None else None
        command = render_announcement(game, warning.text) if game is not None else None
        if command is not None:
            await self._nodes.announce(guest, command)

    def _count(self, world: NodeWorld, plan: NodePlan) -> None:
        states = {name: record.state for name, record in world.known.items() if name not in plan.forget}
        states |= {record.name: record.state for record in plan.records}
        for state in NodeState:
            NODES.labels(state).set(sum(one is state for one in states.values()))
        here = {node.uid for node in world.nodes}
        silent = {node.uid for node in world.nodes if not node.is_ready}
        self._warned = {key: mark for key, mark in self._warned.items() if key[0] in here}
        self._unpowered = {uid: refused for uid, refused in self._unpowered.items() if uid in silent}


def _node_of(action: Action) -> str:
    match action:
        case PowerOff(node=node) | MarkLost(node=node) | ClearLost(node=node):
            return node.name
        case _:
            return action.guest.node


def _server_of(action: Action) -> ServerId | None:
    match action:
        case PowerOff() | MarkLost() | ClearLost():
            return None
        case _:
            return action.guest.server_id
