"""An installation on the test cluster whose nodes fall silent, are emptied and come back: database, controller, games
that tick, and players who are written down as the monitor would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cluster.harness.commands import CommandFailed
from cluster.kube_stage import STORAGE_CLASS, KubeStage
from cluster.scripted_image import NAME, REGISTRY, STEWARD_IMAGE, TAG
from controlling import Shelf
from games.parts import CATALOGUE
from overworld.cloud.base import Cloud
from overworld.cloud.none import NoCloud
from overworld.controller import role
from overworld.domain.accounts import Actor, Role
from overworld.domain.activity import Activity, Presence
from overworld.domain.conditions import ConditionType, find_condition
from overworld.domain.events import Event
from overworld.domain.state import State
from overworld.games.catalogue import Catalogue
from overworld.services import nodes as node_services
from overworld.services import servers as services
from overworld.settings import Settings
from overworld.store.activity import write_activities
from overworld.store.database import Database
from overworld.store.events import list_events
from overworld.store.nodes import NodeView, find_node
from overworld.store.servers import ServerRecord, load_many
from waiting import eventually

SOON = 90.0


def ticking_game() -> Shelf:
    """The scripted game that ticks, on the one image that the cluster has."""
    game = Catalogue.load((CATALOGUE,)).find("ticks")
    assert game is not None
    return Shelf(replace(game, slug=NAME, revision="1"))


class NodeSite:
    """One namespace of the cluster as an installation."""

    def __init__(self, stage: KubeStage, database: Database, admin: Actor, owner: Actor) -> None:
        self.stage = stage
        self.cluster = stage.cluster
        self.database = database
        self.admin, self.owner = admin, owner
        self.shelf = ticking_game()
        self._worlds: dict[str, Path] = {}  # kubectl on every look would hold up the controller

    @asynccontextmanager
    async def controller(self, cloud: Cloud | None = None, **settings: Any) -> AsyncIterator[None]:
        """A controller at work until the block ends."""
        chosen = {"node_loss_grace": 1, "node_power_off_after": 3, "drain_deadline": 600, **settings}
        stop = asyncio.Event()
        engine = self.stage.make_engine()
        task = asyncio.create_task(
            role.run_controller(
                self.database,
                engine,
                self.shelf,
                Settings(
                    engine="kube",
                    kube_namespace=self.stage.namespace,
                    kube_registry=REGISTRY,
                    kube_image_tag=TAG,
                    kube_steward_image=STEWARD_IMAGE,
                    kube_disk_class=STORAGE_CLASS,
                    disk_mib=64,
                    kube_service_type="ClusterIP",
                    **chosen,
                ),
                stop,
                cloud=cloud or NoCloud(),
                public_host="play.example",
            )
        )
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 30)
            await engine.close()

    async def create_on(self, node: str, *names: str) -> list[str]:
        """New servers on that node, ticking."""
        others = [name for name in self.cluster.nodes if name != node]
        for other in others:
            await self.kubectl("cordon", other)
        try:
            ids = [self.create(name) for name in names]
            for server_id in ids:
                await self.until_state(server_id, State.RUNNING)
        finally:
            for other in others:
                await self.kubectl("uncordon", other)
        assert {self.record(server_id).status.node for server_id in ids} == {node}
        return ids

    def create(self, name: str) -> str:
        """A new server's id."""
        with self.database.transaction() as tx:
            view, _ = services.create(
                tx,
                self.owner,
                self.shelf,
                name=name,
                game=NAME,
                variables={},
                memory_mib=None,
                start=True,
                offer=Settings(engine="kube").offer,
                now=datetime.now(UTC),
            )
        return view.server.id

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """kubectl, without holding up the controller."""
        return await asyncio.to_thread(self.cluster.kubectl, *arguments, stdin=stdin)

    def record(self, server_id: str) -> ServerRecord:
        """What is stored of a server."""
        with self.database.transaction() as tx:
            return load_many(tx, [server_id])[server_id]

    def node(self, name: str) -> NodeView | None:
        """What is stored of a node."""
        with self.database.transaction() as tx:
            return find_node(tx, name)

    def confirm_lost(self, name: str) -> NodeView:
        """An operator's word, given as the API gives it."""
        with self.database.transaction() as tx:
            uid = node_services.find(tx, self.admin, name).record.uid
            return node_services.confirm_lost(tx, self.admin, name, uid, datetime.now(UTC))

    def stop(self, server_id: str) -> None:
        """A person's stop."""
        with self.database.transaction() as tx:
            services.stop(tx, self.owner, server_id, datetime.now(UTC))

    async def until_state(self, server_id: str, state: State, *, on: str | None = None) -> ServerRecord:
        """Wait until the controller saw it so."""

        def look() -> ServerRecord | None:
            record = self.record(server_id)
            is_so = record.state is state and record.status.observed_generation >= record.server.generation
            return record if is_so and on in {None, record.status.node} else None

        return await eventually(look, SOON, f"{server_id} is {state} on {on}")

    async def until_node(self, name: str, *states: str) -> NodeView:
        """Wait until the node was written down in one of these states."""

        def look() -> NodeView | None:
            view = self.node(name)
            return view if view is not None and view.record.state in states else None

        return await eventually(look, SOON, f"{name} is one of {states}")

    def plays(self, presence: Presence, *server_ids: str) -> None:
        """The monitor has looked just now (and, so that no test has to look again and again, in five minutes)."""
        activity = Activity(
            presence=presence,
            players=1 if presence is Presence.ACTIVE else 0,
            max_players=4,
            names=(),
            cpu_percent=None,
            memory_mib=None,
            disk_mib=None,
            seen_at=datetime.now(UTC) + timedelta(minutes=5),
            last_active_at=None,
        )
        with self.database.transaction() as tx:
            write_activities(tx, dict.fromkeys(server_ids, activity))

    def events(self, server_id: str) -> tuple[Event, ...]:
        """What its owner was told, oldest first."""
        with self.database.transaction() as tx:
            return list_events(tx, scope=None, server_id=server_id, page_size=200).items[::-1]

    def told(self, server_id: str) -> str:
        """The same, as one text."""
        return "\n".join(f"{event.reason}: {event.message}" for event in self.events(server_id))

    def saved(self, server_id: str) -> str:
        """The reason of its Saved condition."""
        condition = find_condition(self.record(server_id).status.conditions, ConditionType.SAVED)
        assert condition is not None
        return condition.reason

    def world(self, server_id: str) -> Path:
        """The folder of its world on this machine, whatever node has it."""
        if server_id in self._worlds:
            return self._worlds[server_id]
        claim = json.loads(self.stage.kubectl("get", "persistentvolumeclaim", f"{server_id}-world-1", "--output=json"))
        volume = self.cluster.kubectl("get", "persistentvolume", claim["spec"]["volumeName"], "--output=json")
        self._worlds[server_id] = Path(json.loads(volume)["spec"]["local"]["path"])
        return self._worlds[server_id]

    def lines(self, server_id: str, name: str) -> list[str]:
        """The lines of a file of its world; none without it."""
        with suppress(FileNotFoundError):
            return (self.world(server_id) / name).read_text().splitlines()
        return []

    def writers(self, server_id: str) -> list[tuple[str, float, float]]:
        """Who wrote the world, from when to when, in order. Fails if two ever wrote at once."""
        found: list[tuple[str, float, float]] = []
        for line in self.lines(server_id, "ticks"):
            at, host = line.split()
            if found and found[-1][0] == host:
                found[-1] = (host, found[-1][1], float(at))
            else:
                found.append((host, float(at), float(at)))
        assert len({host for host, _, _ in found}) == len(found), f"two wrote one world: {found}"
        assert self.lines(server_id, "two-at-once") == []
        return found

    async def restore_nodes(self) -> None:
        """Both nodes on, connected, unmarked and schedulable, for the next test."""
        for node in self.cluster.nodes.values():
            if node.machine.is_alive:
                await asyncio.to_thread(node.machine.mend)
            else:
                await asyncio.to_thread(self.cluster.start_node, node.name)
            await self.kubectl("uncordon", node.name)
            with suppress(CommandFailed):
                await self.kubectl("taint", "node", node.name, "node.kubernetes.io/out-of-service-")
            await self.kubectl("annotate", "node", node.name, "overworld/lost-")
        await asyncio.to_thread(self.cluster.await_nodes)


def actors(database: Database) -> tuple[Actor, Actor]:
    """An admin and an owner."""
    from overworld.domain.accounts import Quota
    from overworld.store.accounts import create_account

    made = []
    with database.transaction() as tx:
        for name, rank in (("operator", Role.ADMIN), ("owner", Role.USER)):
            account = create_account(tx, name=name, role=rank, quota=Quota(100, 10**6), now=datetime.now(UTC))
            made.append(Actor(account.id, account.name, account.role))
    return made[0], made[1]
