"""Whoever has a world that somebody wants to work on: the steward in its game's pod, else one that is made for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

import msgspec

from overworld.domain.errors import Conflict, EngineRefused, EngineUnavailable
from overworld.domain.servers import Server, ServerId
from overworld.engines.kube.client import KubeClient, Missing
from overworld.engines.kube.exec import Exec
from overworld.engines.kube.manifests import Manifest
from overworld.engines.kube.models import Claim
from overworld.engines.kube.names import BEING_MADE, STEWARD, UNFINISHED, UNWANTED, claim_name, scratch_name
from overworld.engines.kube.options import KubeOptions
from overworld.engines.kube.paths import Paths
from overworld.engines.kube.pending import say_no_image, say_unscheduled
from overworld.engines.kube.pod_work import PodWork
from overworld.engines.kube.scratch import Scratch
from overworld.engines.kube.state import ClusterState
from overworld.engines.kube.steward_pods import render_steward
from overworld.engines.kube.volumes import render_claim_like, render_lost_claim
from overworld.engines.kube.writes import send

READY_WITHIN_SECONDS = 180.0
"""A disk is attached in 10 to 60 s, and a node may have to load the image."""
GONE_WITHIN_SECONDS = 60.0
GRACE_SECONDS = 2.0
ENDING_SECONDS = 5.0
"""Within which the end of a pod is heard of."""
NOT_SEEN = "The cluster is still being looked at."
MISSING = "The world is not there. It is made at the first start."
NO_FOLDER = (
    "The folder of the new world was not made in the share in time. The controller makes it; what it cannot do it says "
    "in the server's condition Placed."
)


class Stewards:
    """Programs run where worlds are. What there is it knows from the engine's watches; ``changed`` gives an event that
    is set as soon as anything is another than now.

    Rights: pods (create), pods/exec, claims (create, patch). It deletes nothing: the controller does
    (``giving_way.py``).
    """

    def __init__(
        self,
        client: KubeClient,
        paths: Paths,
        state: ClusterState,
        options: KubeOptions,
        changed: Callable[[], asyncio.Event],
    ) -> None:
        self._client = client
        self._paths = paths
        self._state = state
        self.options = options
        """Of the engine."""
        self._work = PodWork(client, paths, state, changed)
        self.is_tidied = True
        """Whether a controller removes stewards that are over. While none runs another one has to take their place."""

    @asynccontextmanager
    async def run(
        self,
        server_id: ServerId,
        generation: int,
        folder: str,
        program: Sequence[str],
        *,
        base_generation: int | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> AsyncIterator[Exec]:
        """The program at work in ``folder`` of a steward that has that generation, until the end of the block; one that
        has not ended by then has ``grace_seconds`` for it.

        Raises Conflict (``WorldMissing``), EngineUnavailable if none comes in time or the game needs the world, and
        EngineRefused.
        """

        def make() -> Manifest:
            return render_steward(server_id, generation, self.options, base_generation=base_generation)

        def find() -> str | None:
            for each in filter(None, (generation, base_generation)):
                if self._claim(server_id, each) is None:
                    raise Conflict(MISSING, reason="WorldMissing")
            return self._find_in_game(server_id, generation) if base_generation is None else None

        async with AsyncExitStack() as stack:
            failing_since = None
            while True:
                pod, changed = await self._until_ready(server_id, find, make), self._work.changed()
                try:
                    entered = self._work.run(pod, STEWARD, folder, program, grace_seconds)
                    running = await stack.enter_async_context(entered)
                    break
                except EngineUnavailable:
                    # One that was idle may just have ended, before anybody was told: nothing has begun there.
                    failing_since = failing_since or monotonic()
                    if monotonic() > failing_since + ENDING_SECONDS:
                        raise
                    await self._work.look_again(changed)
            yield running

    @asynccontextmanager
    async def scratch(self, manifest: Manifest) -> AsyncIterator[Scratch]:
        """The same where there is no world, but room for one on a node: a pod of ``scratch_pods.py``, which is told to
        end at the end of the block. Raises EngineUnavailable while no node has room, and EngineRefused."""
        if not self._state.is_complete:
            raise EngineUnavailable(NOT_SEEN)
        scratch = Scratch(self._work, manifest)
        try:
            await scratch.await_room()
            yield scratch
        finally:
            await asyncio.shield(scratch.end())

    # --- generations

    def exists(self, server_id: ServerId, generation: int) -> bool:
        """Whether that generation is there, whole."""
        claim = self._claim(server_id, generation)
        return claim is not None and claim.is_world

    async def begin_world(self, server_id: ServerId, generation: int, *, like: int | None = None) -> None:
        """There is a volume for that generation, which nobody takes for a world until ``finish_world``: of the class
        and size of the generation ``like`` (None: of the newest), in the share if that is. Safe to call twice. Raises
        Conflict (``WorldMissing``) if that is not there, EngineUnavailable if the controller makes no folder in time.
        """
        if self._claim(server_id, generation) is None:
            await self._make_claim(server_id, generation, like)
        give_up_at = monotonic() + READY_WITHIN_SECONDS
        while True:
            changed, claim = self._work.changed(), self._claim(server_id, generation)
            if claim is None or claim.is_unwanted:
                raise EngineUnavailable("What an earlier attempt had begun is still being removed.")
            # A disk is made when a pod wants it. A folder is the controller's to make: the claim itself asks for it,
            # and until there is one it must not be called finished, for the controller looks no further then.
            if not claim.is_in_share or claim.status.phase == "Bound":
                return
            if monotonic() > give_up_at:
                raise EngineUnavailable(NO_FOLDER)
            await self._work.look_again(changed)

    async def _make_claim(self, server_id: ServerId, generation: int, like: int | None) -> None:
        worlds = self._state.objects(server_id).worlds
        base = self._claim(server_id, like if like is not None else max(worlds, default=0))
        if base is None:
            raise Conflict(MISSING, reason="WorldMissing")
        manifest = render_claim_like(base, server_id, generation, self.options, {UNFINISHED: BEING_MADE})
        made = await send(self._client, self._paths.claims, manifest)
        self._state.claims.remember(msgspec.json.decode(made, type=Claim))

    async def finish_world(self, server_id: ServerId, generation: int) -> None:
        """What ``begin_world`` began is a world. Safe to call twice. Raises EngineUnavailable for what was given up."""
        if (claim := self._claim(server_id, generation)) is not None and claim.is_unwanted:
            raise EngineUnavailable("Somebody else has given up what was made of the world.")
        await self._mark(server_id, generation, None)

    async def give_up_world(self, server_id: ServerId, generation: int) -> None:
        """Nothing is there of a generation that was begun. Raises EngineUnavailable while it is being removed."""
        if self._claim(server_id, generation) is None:
            return
        await self._mark(server_id, generation, UNWANTED)
        give_up_at = monotonic() + GONE_WITHIN_SECONDS
        while self._state.claims.find(claim_name(server_id, generation)) is not None:
            if monotonic() > give_up_at:
                raise EngineUnavailable("What was made of the world is still being removed.")
            await self._work.look_again(self._work.changed())

    async def begin_lost_world(self, server: Server) -> None:
        """The first half of ``begin_world`` where nothing is left to be like: as the server's row says."""
        if self._claim(server.id, server.world_generation) is None:
            manifest = render_lost_claim(server, self.options, {UNFINISHED: BEING_MADE})
            made = await send(self._client, self._paths.claims, manifest)
            self._state.claims.remember(msgspec.json.decode(made, type=Claim))

    async def _mark(self, server_id: ServerId, generation: int, mark: str | None) -> None:
        path = f"{self._paths.claims}/{claim_name(server_id, generation)}"
        try:
            changed = await self._client.merge(path, {"metadata": {"annotations": {UNFINISHED: mark}}})
        except Missing:
            if mark is None:
                raise Conflict(MISSING, reason="WorldMissing") from None
            return
        self._state.claims.remember(msgspec.json.decode(changed, type=Claim))

    def _claim(self, server_id: ServerId, generation: int) -> Claim | None:
        claim = self._state.claims.find(claim_name(server_id, generation))
        return None if claim is None or claim.metadata.deletion_timestamp is not None else claim

    # --- pods

    def _find_in_game(self, server_id: ServerId, generation: int) -> str | None:
        """The game's pod, once its steward runs; "" while it is to be waited for, None if no game has that world."""
        objects = self._state.objects(server_id)
        pod, deployment = objects.pod(), objects.deployment
        if pod is not None:
            if pod.metadata.world_generation != generation:
                return None
            if not pod.has_steward:
                raise EngineRefused(
                    "NoSteward", "It runs since before its world could be reached. Restart the server, then try again."
                )
            return pod.metadata.name if pod.steward_runs else ""
        if deployment is None or not objects.is_wanted:
            return None
        return "" if deployment.spec.template.metadata.world_generation == generation else None

    async def _until_ready(
        self, server_id: ServerId, find_in_game: Callable[[], str | None], make: Callable[[], Manifest]
    ) -> str:
        """The pod that has a running steward; made if it has to be. What is ending is waited for."""
        if not self._state.is_complete:
            raise EngineUnavailable(NOT_SEEN)
        give_up_at = monotonic() + READY_WITHIN_SECONDS
        while monotonic() < give_up_at:
            changed = self._work.changed()
            name = find_in_game()
            if name is None:
                name = await self._make(make())
            if name:
                return name
            await self._work.look_again(changed)
        raise EngineUnavailable(f"Nobody was at its world in time. {self._say_why(server_id)}".strip())

    async def _make(self, manifest: Manifest) -> str:
        """The name of that pod once it runs, "" before that."""
        name: str = self._free_name(manifest["metadata"]["name"])
        manifest["metadata"]["name"] = name
        pod = self._work.find(name)
        if pod is None:
            await self._work.create(manifest)
            return ""
        is_usable = pod.metadata.deletion_timestamp is None and not pod.is_over and pod.steward_runs
        return name if is_usable else ""

    def _free_name(self, name: str) -> str:
        """It; where nobody removes what is over, the first with a number that no pod has which is."""
        number, free = 1, name
        while not self.is_tidied and (pod := self._work.find(free)) is not None and pod.is_over:
            number += 1
            free = f"{name}-{number}"
        return free

    def _say_why(self, server_id: ServerId) -> str:
        objects = self._state.objects(server_id)
        drills = scratch_name(server_id)
        for pod in (one for one in (*objects.stewards, *objects.pods) if one.metadata.name != drills):
            says = say_no_image(pod) or ("" if pod.spec.node_name else say_unscheduled(pod, objects.claims))
            if says:
                return says
        return ""
