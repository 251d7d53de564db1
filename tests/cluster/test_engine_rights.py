"""With the least rights: each that is listed is needed, and nothing more is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from cluster.kube_stage import KubeStage
from cluster.rights import CONSOLE, CONTROLLER, CONTROLLER_OF_CLUSTER, sign_in
from contract.test_console import lines_are
from contract.test_engine import last_exit, reaches, started
from overworld.domain.errors import Conflict, EngineError, Unavailable
from overworld.domain.games import Protocol
from overworld.domain.observed import Phase, Removal
from overworld.domain.servers import Endpoint
from overworld.engines.kube.console import KubeConsole
from waiting import eventually


async def test_the_whole_life_of_a_server_needs_no_more_than_the_controllers_rights(stage: KubeStage) -> None:
    """Made, run, measured, stopped, purged."""
    stage.config = sign_in(stage, "controller", CONTROLLER, CONTROLLER_OF_CLUSTER)
    engine = await stage.engine()
    want = stage.want(endpoints=(Endpoint("game", Protocol.TCP, "", 4000),))
    launch = stage.launch(engine, want, "good")
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)

    async def is_measured() -> bool:
        try:
            return await engine.usage(want.server_id) is not None
        except EngineError:
            return False

    await eventually(is_measured, 30, "the node has measured it")
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert last_exit(engine, want).save_seen
    await eventually(lambda: stage.kubectl("get", "pods", "--output=name") == "", 10, "the pod is let go")
    await engine.delete(Removal(want.server_id, 1))
    await engine.delete(Removal(want.server_id))
    assert not engine.observed(want.server_id).exists


async def test_the_console_needs_logs_and_attach_alone(stage: KubeStage) -> None:
    """What a thief of web's token could do in the cluster."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    stage.config = sign_in(stage, "web", CONSOLE)
    console = stage.console()
    console.send(want.server_id, "write 3")
    await lines_are(console, want.server_id, 3)


async def test_without_a_right_the_console_says_so(stage: KubeStage) -> None:
    """And neither shows an empty console nor claims that the game does not run."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    stage.config = sign_in(stage, "nobody", [])
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
    console = KubeConsole(stage.config, stage.namespace, lambda _: place)
    with pytest.raises(Conflict):
        console.send(want.server_id, "write 3")
    console.close()
