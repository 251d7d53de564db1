"""A cluster, its cloud and its rows in memory, with the truth about each machine beside what is known of it: what
random histories of nodes are made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from controlling import Clock
from overworld.cloud.base import MachineState
from overworld.cloud.none import NoCloud
from overworld.controller.fates import LOST_BY_US, LOST_TAINT
from overworld.controller.node_plan import NodePlan
from overworld.controller.node_rows import NodesRead
from overworld.domain.activity import Presence
from overworld.domain.conditions import Truth
from overworld.domain.errors import CloudRefused, CloudUnavailable, EngineUnavailable
from overworld.domain.events import NewEvent
from overworld.domain.nodes import Guest, NodeRecord, NodeSeen, NodeWord, Taint
from overworld.engines.nodes import Nodes


@dataclass
class Pod:
    """``runs``: a process of it writes the world, whatever the cluster believes."""

    server_id: str
    name: str
    node: str
    runs: bool = False
    is_ending: bool = False


@dataclass
class Machine:
    """The truth about a node, and what the cluster has heard of it."""

    node: NodeSeen
    is_on: bool = True
    is_cabled: bool = True


@dataclass
class World(Nodes):
    """A cluster, its cloud, and what a controller sees of them: ``view`` is a cache that may be old."""

    clock: Clock
    machines: dict[str, Machine] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    view: tuple[tuple[NodeSeen, ...], tuple[Guest, ...]] = ((), ())
    cloud_knows: bool = True
    cloud_fails: bool = False
    written: int = 0
    announced: list[str] = field(default_factory=list)
    power_offs: int = 0
    _made: int = 0

    def add(self, name: str) -> None:
        """A new machine with a node that answers."""
        self._made += 1
        seen = NodeSeen(name, f"u{self._made}", Truth.TRUE, self.clock.now, labels={"workload": "gameserver"})
        self.machines[name] = Machine(seen)

    def switch_off(self, name: str) -> None:
        """Nothing on it runs any more."""
        self.machines[name].is_on = False
        for pod in self.pods.values():
            if pod.node == name:
                pod.runs = False

    def place(self, server_id: str) -> None:
        """What the scheduler and the kubelet do: a pod on a node that takes pods, if its world is free."""
        if any(pod.server_id == server_id for pod in self.pods.values()):
            return
        for machine in self.machines.values():
            if machine.node.is_ready and not machine.node.unschedulable and not machine.node.taints:
                self._made += 1
                pod = Pod(server_id, f"{server_id}-{self._made}", machine.node.name, machine.is_on)
                self.pods[pod.name] = pod
                return

    def notice(self) -> None:
        """What kubelets tell, or are found not to; and what they do with their pods."""
        for machine in self.machines.values():
            answers = machine.is_on and machine.is_cabled
            if answers != machine.node.is_ready:
                ready = Truth.TRUE if answers else Truth.UNKNOWN
                machine.node = replace(machine.node, ready=ready, ready_since=self.clock.now)
            if answers:
                for pod in [pod for pod in self.pods.values() if pod.node == machine.node.name]:
                    if pod.is_ending or machine.node.taints:
                        del self.pods[pod.name]
                    else:
                        pod.runs = True

    def sync(self) -> None:
        """The cache catches up."""
        guests = tuple(
            Guest(pod.server_id, pod.name, pod.node, pod.is_ending, is_occupied=True) for pod in self.pods.values()
        )
        self.view = (tuple(machine.node for machine in self.machines.values()), guests)

    # Nodes

    @property
    def is_complete(self) -> bool:
        return True

    def seen(self) -> tuple[NodeSeen, ...]:
        return self.view[0]

    def guests(self) -> tuple[Guest, ...]:
        return self.view[1]

    async def until_changed(self) -> None:
        """Nobody waits here."""

    def _now(self, node: NodeSeen) -> Machine:
        machine = self.machines.get(node.name)
        heard = machine and (machine.node.uid, machine.node.ready, machine.node.ready_since)
        if machine is None or heard != (node.uid, node.ready, node.ready_since):
            raise EngineUnavailable("changed")
        self.written += 1
        return machine

    async def mark_lost(self, node: NodeSeen) -> None:
        machine = self._now(node)
        machine.node = replace(machine.node, taints=(Taint(LOST_TAINT),), annotations={LOST_BY_US: node.uid})

    async def clear_lost(self, node: NodeSeen) -> None:
        machine = self._now(node)
        machine.node = replace(machine.node, taints=(), annotations={})

    async def release(self, guest: Guest, node: NodeSeen | None) -> None:
        machine = self.machines.get(guest.node)
        if machine is not None:
            assert node is None or machine.node.uid != node.uid or LOST_BY_US in machine.node.annotations
            heard = machine.node.uid, machine.node.ready, machine.node.ready_since
            if node is None or heard != (node.uid, node.ready, node.ready_since) or machine.node.is_ready:
                raise EngineUnavailable("it is there")
        self.written += 1
        pod = self.pods.pop(guest.pod, None)
        # The one thing that must never happen: its world is given away under a process that writes it.
        assert pod is None or not pod.runs, f"{pod} still runs"

    async def move(self, guest: Guest) -> None:
        self.written += 1
        if guest.pod in self.pods:
            self.pods[guest.pod].is_ending = True

    async def announce(self, guest: Guest, command: str) -> None:
        self.written += 1
        self.announced.append(command)

    async def occupy(self, guest: Guest, *, occupied: bool, held: bool) -> None:
        """Not looked at here."""


@dataclass
class Rows:
    """``NodeRows`` in memory."""

    world: World
    known: dict[str, NodeRecord] = field(default_factory=dict)
    words: dict[str, NodeWord] = field(default_factory=dict)
    presences: dict[str, Presence] = field(default_factory=dict)
    events: list[NewEvent] = field(default_factory=list)

    async def read(self, server_ids: Collection[str], since: datetime) -> NodesRead:
        return NodesRead(dict(self.known), dict(self.words), dict(self.presences))

    async def game_of(self, server_id: str) -> str | None:
        return "chess"

    async def write(self, plan: NodePlan, events: Sequence[NewEvent], now: datetime) -> None:
        self.world.written += 1
        self.events += events
        self.known |= {record.name: record for record in plan.records}
        for name in plan.forget:
            self.known.pop(name, None)
        for uid in plan.forget_words:
            self.words.pop(uid, None)


class CloudOf(NoCloud):
    """The cloud of a world: a node's machine is named by the node."""

    def __init__(self, world: World) -> None:
        self.world = world

    def answer(self) -> None:
        """Or do not."""
        if self.world.cloud_fails:
            raise CloudUnavailable("no answer")
        if not self.world.cloud_knows:
            raise CloudRefused("NotAuthorized", "Give it the role.")

    async def machine_state(self, provider_id: str) -> MachineState:
        self.answer()
        machine = self.world.machines.get(provider_id)
        if machine is None:
            return MachineState.GONE
        return MachineState.RUNNING if machine.is_on else MachineState.STOPPED

    async def power_off(self, provider_id: str) -> None:
        self.world.power_offs += 1
        self.answer()
        if provider_id in self.world.machines:
            self.world.switch_off(provider_id)
