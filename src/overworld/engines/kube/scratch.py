"""A restore drill's pod at work: room on a node's disk, then what is restored there, then a game started on it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic

from overworld.domain.errors import EngineError, EngineRefused, EngineUnavailable
from overworld.domain.exits import Exit
from overworld.domain.observed import Launch, Want
from overworld.engines.agent_link import talk
from overworld.engines.base import gather_answer
from overworld.engines.kube.exec import Exec
from overworld.engines.kube.exits import read_end
from overworld.engines.kube.launches import LAUNCH_FOLDER, LAYOUT, render_pod_launch
from overworld.engines.kube.manifests import Manifest
from overworld.engines.kube.models import Pod
from overworld.engines.kube.names import LAUNCH_KEY, RESTORER, STEWARD
from overworld.engines.kube.pending import say_no_image, say_pending, say_unscheduled
from overworld.engines.kube.pod_work import PodWork
from overworld.engines.kube.scratch_pods import say_asked
from overworld.engines.kube.steward_pods import AGENT, PYTHON
from overworld.engines.kube.writes import is_as

ROOM_WITHIN_SECONDS = 180.0
"""An autoscaler may bring a node for it; one that takes longer has it for the next attempt."""
STEWARD_WITHIN_SECONDS = 60.0
GAME_WITHIN_SECONDS = 600.0
"""A node may have to fetch the image of the game."""
NEVER_BEGUN = {"StartError", "ContainerCannotRun"}
"""Why a container has ended: the runtime's words."""
END_SEEN_WITHIN_SECONDS = 5.0
"""The end of a program is heard of before that of its pod."""
GRACE_SECONDS = 2.0


class Scratch:
    """The pod of one drill, by one caller at a time. Every method raises EngineUnavailable where the pod is ended by
    others, and EngineRefused (``DrillTooLarge``) where it took more of its node's disk than it had asked for."""

    def __init__(self, work: PodWork, manifest: Manifest) -> None:
        self._work = work
        self._manifest = manifest
        self._name: str = manifest["metadata"]["name"]
        (first, *_) = manifest["spec"].get("initContainers", manifest["spec"]["containers"])
        self._container: str = first["name"]

    async def await_room(self) -> None:
        """Returns once programs can be run there. What an earlier attempt has left is ended first, unless it is the
        same and has not begun: one that seems to run may have been told to end."""
        give_up_at = monotonic() + ROOM_WITHIN_SECONDS
        is_ours = False
        while True:
            changed = self._work.changed()
            pod = self._work.find(self._name)
            if pod is None:
                await self._work.create(self._manifest)
                is_ours = True
            elif pod.metadata.deletion_timestamp is None and not pod.is_over:
                is_ours = is_ours or not pod.has_begun
                if is_ours and is_as(pod, self._manifest):
                    if pod.runs(self._container):
                        return
                else:
                    await self._end_left(pod)
            else:
                is_ours = False
            if monotonic() > give_up_at:
                raise EngineUnavailable(self._say_no_room(pod))
            await self._work.look_again(changed)

    async def _end_left(self, pod: Pod) -> None:
        for container in (RESTORER, STEWARD):
            if pod.runs(container):
                await self._work.tell(self._name, container, "end")

    @asynccontextmanager
    async def run(
        self, folder: str, program: Sequence[str], *, grace_seconds: float = GRACE_SECONDS
    ) -> AsyncIterator[Exec]:
        """The program at work in ``folder`` there, until the end of the block, as ``PodWork.run`` has it."""
        try:
            async with self._work.run(self._name, self._container, folder, program, grace_seconds) as running:
                yield running
        except EngineUnavailable as error:
            await self._until(lambda _: False, END_SEEN_WITHIN_SECONDS, cause=error)
            raise

    async def begin_game(self, want: Want, launch: Launch) -> None:
        """The game begins on what lies in the world; from now on programs run beside it, and it is ended when none
        does for a while. Only where the pod has a game."""
        files = {(LAYOUT.config, name): content for name, content in launch.files.items()}
        files[LAUNCH_FOLDER, LAUNCH_KEY] = json.dumps(render_pod_launch(want, launch))
        for (folder, name), content in files.items():
            await self._write(folder, name, content)
        await self._work.tell(self._name, RESTORER, "go")
        self._container = STEWARD
        if not await self._until(lambda pod: pod.runs(STEWARD), STEWARD_WITHIN_SECONDS):
            raise EngineUnavailable("The game was not begun on the restored world in time.")

    async def await_game(self, within: timedelta) -> Exit | None:
        """None once the game says that players can join; how it ended if it does not come so far. Raises TimeoutError
        when it does neither ``within`` that time."""
        if not await self._until(_has_begun, GAME_WITHIN_SECONDS):
            pod = self._work.find(self._name)
            says = say_pending(None, pod, ()) if pod is not None else None
            raise EngineUnavailable(f"The game was not begun on the restored world in time. {says or ''}".strip())
        if not await self._until(lambda pod: _is_ready(pod) or _read_end(pod) is not None, within.total_seconds()):
            raise TimeoutError
        pod = self._work.find(self._name)
        return None if pod is None or _is_ready(pod) else _read_end(pod)

    async def end(self) -> None:
        """Its steward was asked to end, after which the controller removes the pod. Never raises."""
        await self._work.tell(self._name, self._container, "end")

    async def _write(self, folder: str, name: str, content: str) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield content.encode()

        async with self.run(folder, (*PYTHON, AGENT, "write")) as running:
            await gather_answer(talk(running, {"verb": "write", "path": name}, body()))

    async def _until(
        self, is_so: Callable[[Pod], bool], seconds: float, *, cause: EngineUnavailable | None = None
    ) -> bool:
        """Whether that came to be so in time. Raises what the pod's end means."""
        give_up_at = monotonic() + seconds
        while True:
            changed = self._work.changed()
            pod = self._work.find(self._name)
            if pod is None or pod.is_over or pod.metadata.deletion_timestamp is not None:
                raise _explain_end(pod) from cause
            if is_so(pod):
                return True
            if monotonic() > give_up_at:
                return False
            await self._work.look_again(changed)

    def _say_no_room(self, pod: Pod | None) -> str:
        if pod is not None and (says := say_no_image(pod)):
            return says
        if pod is None or pod.spec.node_name:
            return "The pod for the restore drill did not run in time."
        return (
            f"No node has room for the restore drill, which asks for {say_asked(self._manifest)}; the save itself was "
            f"not looked at. {say_unscheduled(pod, ())}"
        )


def _has_begun(pod: Pod) -> bool:
    game = pod.game
    return game is not None and (game.state.running is not None or game.state.terminated is not None)


def _is_ready(pod: Pod) -> bool:
    return pod.game is not None and pod.game.ready


def _read_end(pod: Pod) -> Exit | None:
    """How the game itself ended. Raises what it means that others have ended it, or never began it."""
    game, ended = pod.game, read_end(pod)
    if game is None or ended is None or ended.exit is None:
        return None
    if game.state.terminated is not None and game.state.terminated.reason in NEVER_BEGUN:
        says = game.state.terminated.message
        raise EngineRefused("GameNotBegun", f"The container of the game cannot be begun. {says}", retry_after=None)
    if ended.exit.asked:  # by its node, or by who drains it
        raise _explain_end(pod)
    return ended.exit


def _explain_end(pod: Pod | None) -> EngineError:
    """What it means that others have ended the pod."""
    status = pod.status if pod is not None else None
    if status is not None and status.reason == "Evicted" and "exceeds" in status.message:  # the kubelet's words
        return EngineRefused(
            "DrillTooLarge",
            "The drill took more of its node's disk than a world of the size that the save tells, and was ended: "
            f"{status.message}",
            retry_after=None,
        )
    why = f" ({status.reason}: {status.message})" if status is not None and status.reason else ""
    return EngineUnavailable(f"The pod of the restore drill was ended before its time{why}.")
