"""The traps of watching, each on the real API server: DESIGN's list of what others fell into."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.names import CONTROL_PLANE_ADDRESS
from cluster.kube_stage import KubeStage
from cluster.wire import Wire
from overworld.domain.errors import EngineUnavailable
from overworld.engines.kube.client import KubeClient
from overworld.engines.kube.engine import KubeEngine
from overworld.engines.kube.models import Claim
from overworld.engines.kube.names import server_labels
from overworld.engines.kube.watch import Cache, ListWatch, WatchTimes
from waiting import eventually

QUICK = WatchTimes(watch_seconds=30, silence_seconds=3.0, first_pause_seconds=0.05, longest_pause_seconds=1.0)


class Watched:
    """A list-watch of volume claims (nothing makes or changes them but the test) in a namespace of its own."""

    def __init__(self, stage: KubeStage, wire: Wire) -> None:
        self.stage, self.wire = stage, wire
        self.woken: list[str] = []
        self.cache: Cache[Claim] = Cache(self.woken.append)
        self.client = KubeClient(wire.config(stage.cluster))
        path = f"/api/v1/namespaces/{stage.namespace}/persistentvolumeclaims"
        self.watch = ListWatch(self.client, path, Claim, self.cache, QUICK)

    async def make(self, name: str) -> None:
        """Make a claim, past the wire."""
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": self.stage.namespace, "labels": server_labels(f"of-{name}")},
            "spec": {
                "accessModes": ["ReadWriteOncePod"],
                "storageClassName": "world",
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }
        await asyncio.to_thread(self.stage.cluster.kubectl, "create", "--filename=-", stdin=json.dumps(claim))

    async def remove(self, name: str) -> None:
        """Remove a claim, past the wire; gone when this returns."""
        await asyncio.to_thread(self.stage.kubectl, "delete", "persistentvolumeclaim", name)

    async def sees(self, *names: str) -> None:
        """Wait until the cache holds exactly these."""

        def look() -> bool:
            found = {name for name in ("a", "b", "c") if self.cache.find(name)}
            return found == set(names)

        await eventually(look, 15, f"the cache holds {names}")


@asynccontextmanager
async def watching(cluster: Cluster) -> AsyncIterator[Watched]:
    """A list-watch that runs over a wire."""
    stage = KubeStage(cluster)
    async with Wire(CONTROL_PLANE_ADDRESS, 6443) as wire:
        watched = Watched(stage, wire)
        task = asyncio.create_task(watched.watch.run())
        await watched.watch.until_complete(10)
        try:
            yield watched
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await watched.client.close()
            await stage.leave()


async def test_a_watch_that_falls_silent_is_begun_anew(cluster: Cluster) -> None:
    """The connection stands, and nothing comes: noticed by the silence, without anybody closing it."""
    async with watching(cluster) as watched:
        await watched.make("a")
        await watched.sees("a")
        watched.wire.freeze()
        await watched.make("b")
        frozen = watched.wire
        await asyncio.sleep(QUICK.silence_seconds / 2)  # the watch has had its chance, and knows nothing
        assert watched.cache.find("b") is None
        await eventually(lambda: frozen.connections >= 2, 15, "a new connection is tried")
        frozen.thaw()
        await watched.sees("a", "b")


async def test_what_happened_while_disconnected_is_caught_up_with(cluster: Cluster) -> None:
    """New, changed and removed: the watch goes on from where it was."""
    async with watching(cluster) as watched:
        await watched.make("a")
        await watched.make("b")
        await watched.sees("a", "b")
        watched.wire.cut()
        await watched.remove("a")
        await watched.make("c")
        watched.woken.clear()
        watched.wire.mend()
        await watched.sees("b", "c")
        assert set(watched.woken) == {"of-a", "of-c"}


async def test_a_version_that_is_too_old_is_answered_inside_a_200_and_lists_anew(cluster: Cluster) -> None:
    """And the deletion that no watch will ever tell is found by that list."""
    async with watching(cluster) as watched:
        await watched.make("a")
        await watched.make("b")
        await watched.sees("a", "b")
        watched.wire.cut()
        # As after hours without the API server. At once, for a new try may be under way when the wire is mended.
        watched.cache.version = 1
        await watched.remove("a")
        watched.woken.clear()
        watched.wire.mend()
        await watched.sees("b")
        assert watched.woken == ["of-a"]
        assert watched.cache.version > 1


async def test_an_api_server_that_is_down_is_not_hammered(cluster: Cluster) -> None:
    """Pauses grow up to the longest, and it is found again within that."""
    async with watching(cluster) as watched:
        await watched.make("a")
        await watched.sees("a")
        watched.wire.cut()
        before = watched.wire.connections
        await asyncio.sleep(3)  # a span of time is what is measured here
        tried = watched.wire.connections - before
        assert 2 <= tried <= 16
        assert watched.cache.find("a") is not None  # what was seen stays seen
        watched.wire.mend()
        await watched.make("b")
        await watched.sees("a", "b")


async def test_an_engine_cannot_start_without_its_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so instead of deciding on an empty cache."""
    monkeypatch.setattr("overworld.engines.kube.state.COMPLETE_WITHIN_SECONDS", 1.0)
    async with Wire(CONTROL_PLANE_ADDRESS, 6443) as wire:
        wire.cut()
        stage = KubeStage(cluster)
        engine = KubeEngine(wire.config(cluster), stage.options, times=QUICK)
        try:
            with pytest.raises(EngineUnavailable, match="could not be listed"):
                await engine.start(lambda _: None)
            assert not engine.observed("anything").complete
        finally:
            await engine.close()
            await stage.leave()
