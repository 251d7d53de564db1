"""Pods of stewards made, waited for, and programs run in their containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
import structlog

from overworld.domain.errors import EngineError, EngineUnavailable
from overworld.engines.kube.client import Exists, KubeClient, Missing
from overworld.engines.kube.exec import Exec, execute
from overworld.engines.kube.manifests import Manifest
from overworld.engines.kube.models import Pod
from overworld.engines.kube.paths import Paths
from overworld.engines.kube.state import ClusterState
from overworld.engines.kube.steward_pods import PROGRAM, PYTHON

LOOK_SECONDS = 2.0
TELL_SECONDS = 10.0

log = structlog.get_logger(__name__)


class PodWork:
    """See the module. What there is it knows from ``state``; ``changed`` gives an event that is set as soon as anything
    is another than now. It takes the rights to create pods and to exec in them."""

    def __init__(
        self, client: KubeClient, paths: Paths, state: ClusterState, changed: Callable[[], asyncio.Event]
    ) -> None:
        self._client = client
        self._paths = paths
        self._state = state
        self.changed = changed

    def find(self, name: str) -> Pod | None:
        """As it was last seen."""
        return self._state.pods.find(name)

    async def create(self, manifest: Manifest) -> None:
        """There will be a pod of that name, whoever makes it. Raises EngineRefused where the cluster does not allow
        it."""
        try:
            made = await self._client.create(self._paths.pods, manifest)
        except Exists:  # another worker's, of which the watch has yet to tell
            return
        except Missing as error:
            raise EngineUnavailable(f"The namespace of games is gone: {error}") from error
        self._state.pods.remember(msgspec.json.decode(made, type=Pod))

    async def look_again(self, changed: asyncio.Event) -> None:
        """Returns when something is another than when ``changed`` was given, or after a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await changed.wait()

    @asynccontextmanager
    async def run(
        self, pod: str, container: str, folder: str, program: Sequence[str], grace_seconds: float
    ) -> AsyncIterator[Exec]:
        """The program at work in ``folder`` there, until the end of the block; one that has not ended by then has
        ``grace_seconds`` for it."""
        command = [*PYTHON, PROGRAM, "run", str(grace_seconds), folder, *program]
        try:
            async with execute(self._client, f"{self._paths.pods}/{pod}", container, command) as running:
                try:
                    yield running
                except EngineUnavailable:
                    log.warning("a program at a world ended without its answer", pod=pod, said=running.words)
                    raise
        except Missing as error:
            raise EngineUnavailable("The pod at its world has just ended.") from error

    async def tell(self, pod: str, container: str, word: str) -> None:
        """That steward was told to ``go`` or to ``end``. Never raises: one that is not reached ends by itself, of
        idleness, and whoever waits for it to go sees that."""
        command = [*PYTHON, PROGRAM, word]
        with suppress(EngineError, Missing, TimeoutError):
            async with asyncio.timeout(TELL_SECONDS):
                async with execute(self._client, f"{self._paths.pods}/{pod}", container, command) as running:
                    await running.readline()
