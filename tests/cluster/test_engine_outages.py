"""Parts of the cluster go away under a running engine: games go on, nothing is forgotten, nothing is done twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from cluster.kube_stage import KubeStage
from contract.test_engine import last_exit, process_of, reaches, started
from overworld.domain.errors import EngineUnavailable
from overworld.domain.observed import Phase
from waiting import eventually


async def test_games_and_what_is_known_of_them_outlive_the_api_server(stage: KubeStage) -> None:
    """Its absence is a passing fault; afterwards the engine is as before, and what ended meanwhile is known."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    crashing, _ = await started(stage, engine)
    stage.write(crashing.server_id, 1)
    before = engine.observed(want.server_id)
    await asyncio.to_thread(stage.cluster.stop_apiserver)
    try:
        with pytest.raises(EngineUnavailable, match="Kubernetes API"):
            await engine.apply(replace(want, running=False), launch)
        assert engine.observed(want.server_id) == before
    finally:
        await asyncio.to_thread(stage.cluster.start_apiserver)

    async def is_stopped() -> bool:
        try:
            await engine.apply(replace(want, running=False), launch)
        except EngineUnavailable:
            return False
        seen = process_of(engine, want)
        return seen is not None and seen.phase is Phase.STOPPED

    await eventually(is_stopped, 60, "the stop is carried out after all")
    assert last_exit(engine, want).save_seen
    stage.crash(crashing.server_id)
    await eventually(lambda: getattr(process_of(engine, crashing), "crashes", 0) == 1, 60, "the watch goes on")


async def test_etcd_may_be_killed_and_started_again(stage: KubeStage) -> None:
    """Watches break, versions go on: nothing is written that was not wanted."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    before = process_of(engine, want)
    await asyncio.to_thread(stage.cluster.restart_etcd)
    other = stage.want()

    async def is_applied() -> bool:
        try:
            await engine.apply(other, stage.launch(engine, other, "good"))
        except EngineUnavailable:
            return False
        return True

    await eventually(is_applied, 60, "the API takes wishes again")
    await eventually(lambda: getattr(process_of(engine, other), "phase", None) is Phase.READY, 60, "it is ready")
    assert process_of(engine, want) == before
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
