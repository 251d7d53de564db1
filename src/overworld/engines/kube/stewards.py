"""Whoever has a world that somebody wants to work on: the steward in its game's pod, else one that is made for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic

import msgspec
import structlog

from overworld.domain.errors import Conflict, EngineRefused, EngineUnavailable
from overworld.domain.servers import ServerId
from overworld.engines.kube.client import Exists, KubeClient, Missing
from overworld.engines.kube.exec import Exec, execute
from overworld.engines.kube.manifests import Manifest
from overworld.engines.kube.models import Claim, Pod
from overworld.engines.kube.names import BEING_MADE, STEWARD, UNFINISHED, UNWANTED, claim_name
from overworld.engines.kube.options import KubeOptions
from overworld.engines.kube.paths import Paths
from overworld.engines.kube.pending import say_no_image, say_unscheduled
from overworld.engines.kube.state import ClusterState
from overworld.engines.kube.steward_pods import PROGRAM, PYTHON, render_scratch, render_steward
from overworld.engines.kube.volumes import render_claim_like, render_lost_claim
from overworld.engines.kube.writes import send

READY_WITHIN_SECONDS = 180.0
"""A disk is attached in 10 to 60 s, and a node may have to load the image."""
GONE_WITHIN_SECONDS = 60.0
LOOK_SECONDS = 2.0
GRACE_SECONDS = 2.0
MISSING = "The world is not there. It is made at the first start."

log = structlog.get_logger(__name__)


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
        self._options = options
        self._changed = changed
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
            return render_steward(server_id, generation, self._options, base_generation=base_generation)

        def find() -> str | None:
            for each in filter(None, (generation, base_generation)):
                if self._claim(server_id, each) is None:
                    raise Conflict(MISSING, reason="WorldMissing")
            return self._find_in_game(server_id, generation) if base_generation is None else None

        pod = await self._until_ready(server_id, find, make)
        async with self._run_in(pod, grace_seconds, folder, program) as running:
            yield running

    @asynccontextmanager
    async def run_in_scratch(
        self, server_id: ServerId, folder: str, program: Sequence[str], *, grace_seconds: float = GRACE_SECONDS
    ) -> AsyncIterator[Exec]:
        """The same where there is no world, but room for one on a node. What is left there stays for a while."""
        pod = await self._until_ready(server_id, lambda: None, lambda: render_scratch(server_id, self._options))
        async with self._run_in(pod, grace_seconds, folder, program) as running:
            yield running

    # --- generations

    def exists(self, server_id: ServerId, generation: int) -> bool:
        """Whether that generation is there, whole."""
        claim = self._claim(server_id, generation)
        return claim is not None and claim.is_world

    async def begin_world(self, server_id: ServerId, generation: int, *, like: int | None = None) -> None:
        """There is a volume for that generation, which nobody takes for a world until ``finish_world``: of the class
        and size of the generation ``like`` (None: of the newest). Safe to call twice. Raises Conflict
        (``WorldMissing``) if that is not there, EngineRefused for one in a share."""
        if (known := self._claim(server_id, generation)) is not None:
            if known.is_unwanted:
                raise EngineUnavailable("What an earlier attempt had begun is still being removed.")
            return
        worlds = self._state.objects(server_id).worlds
        base = self._claim(server_id, like if like is not None else max(worlds, default=0))
        if base is None:
            raise Conflict(MISSING, reason="WorldMissing")
        if not base.spec.storage_class_name:
            raise EngineRefused(
                "WorldInShare",
                "Its world lies in a share, where no world can be made beside it yet. Clone the save into a server "
                "with a disk.",
            )
        manifest = render_claim_like(base, server_id, generation, {UNFINISHED: BEING_MADE})
        made = await send(self._client, self._paths.claims, manifest)
        self._state.claims.remember(msgspec.json.decode(made, type=Claim))

    async def finish_world(self, server_id: ServerId, generation: int) -> None:
        """What ``begin_world`` began is a world. Safe to call twice."""
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
            await self._look_again(self._changed())

    async def begin_lost_world(self, server_id: ServerId, generation: int, mib: int | None) -> None:
        """As ``begin_world``, where nothing is left to be like: a disk of the class of new worlds, of that size (None:
        theirs)."""
        if self._claim(server_id, generation) is None:
            manifest = render_lost_claim(server_id, generation, mib, self._options, {UNFINISHED: BEING_MADE})
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
            raise EngineUnavailable("The cluster is still being looked at.")
        give_up_at = monotonic() + READY_WITHIN_SECONDS
        while monotonic() < give_up_at:
            changed = self._changed()
            name = find_in_game()
            if name is None:
                name = await self._make(make())
            if name:
                return name
            await self._look_again(changed)
        raise EngineUnavailable(f"Nobody was at its world in time. {self._say_why(server_id)}".strip())

    async def _make(self, manifest: Manifest) -> str:
        """The name of that pod once it runs, "" before that."""
        name = manifest["metadata"]["name"] = self._free_name(manifest["metadata"]["name"])
        pod = self._state.pods.find(name)
        if pod is None:
            try:
                made = await self._client.create(self._paths.pods, manifest)
            except Exists:  # another worker's, of which the watch has yet to tell
                return ""
            except Missing as error:
                raise EngineUnavailable(f"The namespace of games is gone: {error}") from error
            self._state.pods.remember(msgspec.json.decode(made, type=Pod))
            return ""
        is_usable = pod.metadata.deletion_timestamp is None and not pod.is_over and pod.steward_runs
        return name if is_usable else ""

    def _free_name(self, name: str) -> str:
        """It; where nobody removes what is over, the first with a number that no pod has which is."""
        number, free = 1, name
        while not self.is_tidied and (pod := self._state.pods.find(free)) is not None and pod.is_over:
            number += 1
            free = f"{name}-{number}"
        return free

    async def _look_again(self, changed: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await changed.wait()

    def _say_why(self, server_id: ServerId) -> str:
        objects = self._state.objects(server_id)
        for pod in (*objects.stewards, *objects.pods):
            says = say_no_image(pod) or ("" if pod.spec.node_name else say_unscheduled(pod, objects.claims))
            if says:
                return says
        return ""

    @asynccontextmanager
    async def _run_in(self, pod: str, grace_seconds: float, folder: str, program: Sequence[str]) -> AsyncIterator[Exec]:
        command = [*PYTHON, PROGRAM, "run", str(grace_seconds), folder, *program]
        try:
            async with execute(self._client, f"{self._paths.pods}/{pod}", STEWARD, command) as running:
                try:
                    yield running
                except EngineUnavailable:
                    log.warning("a program at a world ended without its answer", pod=pod, said=running.words)
                    raise
        except Missing as error:
            raise EngineUnavailable("The pod at its world has just ended.") from error
