"""How a drill comes to its pod, whatever an earlier attempt has left."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from overworld.domain.errors import EngineUnavailable
from overworld.engines.kube import scratch
from overworld.engines.kube.manifests import Manifest
from overworld.engines.kube.models import Pod
from overworld.engines.kube.names import STEWARD
from overworld.engines.kube.options import KubeOptions
from overworld.engines.kube.scratch import Scratch
from overworld.engines.kube.scratch_pods import render_scratch

OURS = render_scratch("b7k2m9q4t6w8", 300, KubeOptions())
OTHERS = render_scratch("b7k2m9q4t6w8", 900, KubeOptions())


class Pods:
    """A cluster of one pod: it begins when it is looked at once more, and goes when it is told to end and looked at
    once more."""

    def __init__(self, left: Manifest | None = None, *, runs: bool = False, has_room: bool = True) -> None:
        self.manifest, self.runs, self.has_room = left, runs, has_room
        self.done: list[str] = []
        self._ends = False

    def changed(self) -> asyncio.Event:
        """Nobody waits for it here."""
        return asyncio.Event()

    def find(self, _name: str) -> Pod | None:
        """As it is now."""
        if self.manifest is None:
            return None
        state: dict[str, Any] = {"running": {}} if self.runs else {"waiting": {}}
        status = {"containerStatuses": [{"name": STEWARD, "state": state}]} if self.has_room else {}
        return msgspec.json.decode(json.dumps({**self.manifest, "status": status}), type=Pod)

    async def create(self, manifest: Manifest) -> None:
        """The API server takes it."""
        assert self.manifest is None
        self.manifest = manifest
        self.done.append("create")

    async def tell(self, _name: str, _container: str, word: str) -> None:
        """The steward hears it."""
        self.done.append(word)
        self._ends = word == "end"

    async def look_again(self, _changed: asyncio.Event) -> None:
        """Time passes."""
        if self._ends:
            self.manifest, self.runs, self._ends = None, False, False
        elif self.manifest is not None and self.has_room:
            self.runs = True
        await asyncio.sleep(0)


async def come_to(pods: Pods) -> list[str]:
    """What was done until there is room."""
    await Scratch(pods, OURS).await_room()  # type: ignore[arg-type]
    assert pods.manifest == OURS
    return pods.done


async def test_a_pod_is_made_where_there_is_none() -> None:
    """And waited for."""
    assert await come_to(Pods()) == ["create"]


@pytest.mark.parametrize("left", [OURS, OTHERS])
async def test_one_that_seems_to_run_is_ended_first(left: Manifest) -> None:
    """Its last user may just have told it to end, and the watch be behind; or a game runs in it."""
    assert await come_to(Pods(left, runs=True)) == ["end", "create"]


async def test_one_that_waits_for_a_node_is_waited_for() -> None:
    """A retry is no second pod; and one of another size is not taken for ours, for it would be ended too early."""
    assert await come_to(Pods(OURS)) == []
    assert await come_to(Pods(OTHERS)) == ["end", "create"]


async def test_how_much_room_was_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever chooses the nodes."""
    monkeypatch.setattr(scratch, "ROOM_WITHIN_SECONDS", 0.05)
    with pytest.raises(EngineUnavailable, match="1836 MiB of its own disk and 24 MiB of memory; the save itself"):
        await come_to(Pods(has_room=False))
