"""With the chart's rights: each that is listed is needed, and nothing more is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from cluster.harness.audit import asked
from cluster.kube_stage import KubeStage
from cluster.rights import CONTROLLER, MONITOR, WEB, WORKER, granted
from contract.test_console import lines_are
from contract.test_engine import last_exit, reaches, started
from overworld.domain.errors import Conflict, EngineError, Unavailable
from overworld.domain.games import Protocol
from overworld.domain.observed import Phase, Removal, WantedAddress
from overworld.domain.servers import Endpoint, ServerId
from overworld.engines.base import gather_answer
from overworld.engines.kube.agents import KubeWorlds
from overworld.engines.kube.console import KubeConsole
from overworld.engines.kube.engine import KubeEngine
from overworld.engines.kube.names import SERVER
from waiting import eventually

Right = tuple[str, str, str]

ELSEWHERE: dict[str, set[Right]] = {
    CONTROLLER: {
        # nodes and drain
        *(("", "nodes", verb) for verb in ("get", "list", "watch", "patch")),
        *(("", "pods/attach", verb) for verb in ("get", "create")),
        # shares
        *(("", "persistentvolumes", verb) for verb in ("create", "delete")),
    },
    MONITOR: set(),
    WEB: set(),
    WORKER: set(),
}
"""What parts need that have tests of their own, not the life of one server on a disk."""


async def test_the_life_of_a_server_needs_each_right_of_the_chart_and_no_other(stage: KubeStage) -> None:
    """Made, run, watched, measured, spoken to, its world reached and another made, ended by its node, stopped, purged:
    by controller, monitor, web and worker, each as itself. Nothing was asked of the API server that is not granted, and
    nothing granted that was not asked for."""
    await _live(stage)
    seen = asked(stage.cluster.control_plane.audit_log)
    for role in (CONTROLLER, MONITOR, WEB, WORKER):
        account = f"{stage.namespace}:{stage.namespace}-{role}"
        used = {(one.group, one.resource, one.verb) for one in seen if one.account == account}
        assert used - granted(role) == set(), f"{role} lacks these"
        assert granted(role) - used - ELSEWHERE[role] == set(), f"{role} does not need these"


async def _live(stage: KubeStage) -> None:
    stage.config = stage.accounts.config(CONTROLLER)
    engine = await stage.engine()
    want = replace(stage.want(endpoints=(Endpoint("game", Protocol.TCP, "", 4000),)), address=WantedAddress())
    launch = stage.launch(engine, want, "good")
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    console = stage.console()
    console.send(want.server_id, "write 3")
    await lines_are(console, want.server_id, 3)
    await _measure(stage, want.server_id)
    await _work(stage, want.server_id)
    pod = stage.kubectl("get", "pods", f"--selector={SERVER}={want.server_id}", "--output=name").strip()
    stage.kubectl("patch", pod, "--type=merge", '--patch={"spec":{"activeDeadlineSeconds":1}}')
    await eventually(lambda: pod not in stage.kubectl("get", "pods", "--output=name"), 30, "the ended pod is let go")
    await reaches(engine, want, Phase.READY)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).save_seen
    await eventually(lambda: stage.kubectl("get", "pods", "--output=name") == "", 30, "the pods are let go")
    await engine.delete(Removal(want.server_id, 1))
    await engine.delete(Removal(want.server_id, 2))
    await engine.delete(Removal(want.server_id))
    assert not engine.observed(want.server_id).exists


async def _measure(stage: KubeStage, server_id: ServerId) -> None:
    """As the monitor: it watches the same objects and asks the kubelet."""
    monitor = KubeEngine(stage.accounts.config(MONITOR), stage.options, observe_only=True)

    async def is_measured() -> bool:
        try:
            return await monitor.usage(server_id) is not None
        except EngineError:
            return False

    try:
        await monitor.start(lambda _: None)
        await eventually(is_measured, 30, "the node has measured it")
    finally:
        await monitor.close()


async def _work(stage: KubeStage, server_id: ServerId) -> None:
    """As the worker: in the game's pod, in one beside it, and through the console."""
    worker = KubeEngine(stage.accounts.config(WORKER), stage.options, observe_only=True)
    place = stage.place(server_id)
    console = KubeConsole(stage.accounts.config(WORKER), stage.namespace, lambda _: place)
    try:
        await worker.start(lambda _: None)
        worlds = KubeWorlds(worker.stewards)
        await worlds.make_world(server_id, 2, like=1)
        for generation in (1, 2):
            await gather_answer(worlds.run(server_id, generation, {"verb": "list"}))
        console.send(server_id, "write 1")
        assert console.lines(server_id, after=None, limit=1)
    finally:
        console.close()
        await worker.close()


async def test_without_a_right_the_console_says_so(stage: KubeStage) -> None:
    """And neither shows an empty console nor claims that the game does not run."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    stage.web_config = stage.accounts.config(MONITOR)
    console = stage.console()
    with pytest.raises(Unavailable, match="forbidden"):
        console.lines(want.server_id, after=None, limit=10)
    with pytest.raises(Unavailable):
        console.send(want.server_id, "write 3")


async def test_the_console_follows_across_the_containers_of_a_pod(stage: KubeStage) -> None:
    """What was said before a crash and after it: in order, and nothing twice."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    console = stage.console()
    stage.write(want.server_id, 3)
    found: list[str] = []

    def follow() -> None:
        for line in console.follow(want.server_id, after=None):
            if line is not None:
                found.append(line.text)
            if found.count("ready to play") == 2 and found[-1] == "line 1":
                return

    following = asyncio.create_task(asyncio.to_thread(follow))
    await lines_are(console, want.server_id, 3)
    stage.crash(want.server_id)
    await reaches(engine, want, Phase.WAITING)
    await reaches(engine, want, Phase.READY)
    stage.write(want.server_id, 2)
    await asyncio.wait_for(following, 30)
    assert found == ["ready to play", "line 0", "line 1", "line 2", "ready to play", "line 0", "line 1"]
    assert [line.text for line in console.lines(want.server_id, after=None, limit=100)] == found


async def test_a_follower_of_a_silent_game_gets_a_sign_of_life(stage: KubeStage) -> None:
    """Or web could not notice that its client went away."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    following = stage.console().follow(want.server_id, after=None)

    def wait_for_nothing() -> bool:
        return any(line is None for line in following)

    assert await asyncio.wait_for(asyncio.to_thread(wait_for_nothing), 15)
    following.close()  # type: ignore[attr-defined]


async def test_a_command_in_the_moment_of_a_stop_is_a_conflict(stage: KubeStage) -> None:
    """The cache still believes in the pod: the cluster decides."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    place = stage.place(want.server_id)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    console = KubeConsole(stage.web_config, stage.namespace, lambda _: place)
    with pytest.raises(Conflict):
        console.send(want.server_id, "write 3")
    console.close()
