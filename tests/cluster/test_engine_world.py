"""What the kube engine makes of a real cluster: what is written, what is told, and what outlives what."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import Counter
from dataclasses import replace

import pytest
from lightkube import KubeConfig

from cluster.kube_stage import KubeStage
from contract.test_engine import last_exit, process_of, reaches, started
from overworld.domain.errors import EngineRefused
from overworld.domain.games import Protocol
from overworld.domain.observed import Phase, Removal, Want, WantedAddress
from overworld.domain.servers import Endpoint
from overworld.engines.base import Engine
from overworld.engines.kube.engine import KubeEngine
from overworld.engines.kube.options import ServiceType
from waiting import eventually

LONG = 60.0
OURS = ("deployments", "persistentvolumeclaims", "secrets", "services")
GAME = (Endpoint("game", Protocol.TCP, "", 4000),)


def applies(stage: KubeStage) -> Counter[str]:
    """How often server-side apply was asked for, by resource, as the API server counts. Nobody else does."""
    found: Counter[str] = Counter()
    for line in stage.cluster.kubectl("get", "--raw", "/metrics").splitlines():
        if line.startswith("apiserver_request_total{") and 'verb="APPLY"' in line:
            resource = re.search(r'resource="([a-z]+)"', line)
            if resource is not None and resource[1] in OURS:
                found[resource[1]] += int(float(line.rsplit(" ", 1)[1]))
    return found


def volumes_of(stage: KubeStage) -> list[str]:
    """The volumes that belong to a claim of the stage."""
    items = json.loads(stage.cluster.kubectl("get", "persistentvolumes", "--output=json"))["items"]
    return [item["metadata"]["name"] for item in items if item["spec"]["claimRef"]["namespace"] == stage.namespace]


async def told(engine: Engine, want: Want, text: str) -> None:
    """Wait until the owner would read that."""

    def look() -> bool:
        seen = process_of(engine, want)
        return seen is not None and seen.pending is not None and text in seen.pending

    await eventually(look, LONG, f"{text!r} is told; seen: {process_of(engine, want)}")


async def test_every_object_is_written_once_and_then_never_again(stage: KubeStage) -> None:
    """An equal world writes nothing, also for an engine that has just begun."""
    engine = await stage.engine()
    want = replace(stage.want(endpoints=GAME), address=WantedAddress())
    launch = stage.launch(engine, want, "good")
    before = applies(stage)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    assert applies(stage) - before == Counter(dict.fromkeys(OURS, 1))
    for again in (engine, await stage.engine()):
        await again.apply(want, launch)
    assert applies(stage) - before == Counter(dict.fromkeys(OURS, 1))


async def test_stop_and_start_leave_service_claim_and_secret_alone(stage: KubeStage) -> None:
    """Only replicas change: a load balancer takes its time for everything else."""
    engine = await stage.engine()
    want = replace(stage.want(endpoints=GAME), address=WantedAddress())
    launch = stage.launch(engine, want, "good")
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)

    def versions() -> str:
        return stage.kubectl(
            "get", "services,secrets,persistentvolumeclaims", "--output=jsonpath={.items[*].metadata.uid}"
        )

    before = versions()
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    assert versions() == before


async def test_an_end_that_no_controller_saw_is_known_to_the_next(stage: KubeStage) -> None:
    """The pod's object waits for somebody to write down whether the save was seen."""
    first = await stage.engine()
    want, _ = await started(stage, first)
    await first.close()
    stage.kubectl("scale", "deployment", want.server_id, "--replicas=0")

    def has_ended() -> bool:
        return stage.kubectl("get", "pods", "--output=jsonpath={.items[*].status.phase}") in {"Succeeded", "Failed"}

    await eventually(has_ended, 30, "the game has ended with nobody watching")
    second = await stage.engine()
    assert last_exit(second, want).save_seen
    await eventually(lambda: stage.kubectl("get", "pods", "--output=name") == "", 10, "the pod is let go")
    assert last_exit(second, want).save_seen
    assert last_exit(await stage.engine(), want).save_seen


async def test_a_pod_that_waits_to_be_written_down_holds_nothing_up(stage: KubeStage) -> None:
    """Not its volume, not its node, not the next pod: games go on without any controller."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    await engine.close()

    def phases() -> list[str]:
        ready = "{range .items[*]}{.status.phase}/{.status.containerStatuses[0].ready} {end}"
        return sorted(stage.kubectl("get", "pods", f"--output=jsonpath={ready}").split())

    stage.kubectl("scale", "deployment", want.server_id, "--replicas=0")
    await eventually(lambda: phases() == ["Succeeded/false"], 30, "the game has ended with nobody watching")
    stage.kubectl("scale", "deployment", want.server_id, "--replicas=1")
    await eventually(lambda: phases() == ["Running/true", "Succeeded/false"], 30, "the next pod runs beside it")
    second = await stage.engine()
    assert (await reaches(second, want, Phase.READY)).last_exit is not None
    assert last_exit(second, want).save_seen
    await eventually(lambda: phases() == ["Running/true"], 10, "the old pod is let go")


async def test_a_volume_that_never_binds_is_told(stage: KubeStage) -> None:
    """A class that nobody provisions for."""
    stage.options = replace(stage.options, storage_class="no-such-class")
    engine = await stage.engine()
    want = stage.want()
    await engine.apply(want, stage.launch(engine, want, "good"))
    await told(engine, want, "Waiting for its volume")


async def test_an_eviction_saves_and_the_game_comes_back(stage: KubeStage) -> None:
    """What a drain does to every pod of a node."""
    engine = await stage.engine()
    want, _ = await started(stage, engine)
    pod = stage.kubectl("get", "pods", "--output=jsonpath={.items[0].metadata.name}")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": stage.namespace}}
    path = f"/api/v1/namespaces/{stage.namespace}/pods/{pod}/eviction"
    await asyncio.to_thread(stage.cluster.kubectl, "create", "--raw", path, "--filename=-", stdin=json.dumps(eviction))
    await reaches(engine, want, Phase.STOPPING)

    def is_back() -> bool:
        seen = process_of(engine, want)
        return seen is not None and seen.phase is Phase.READY and seen.last_exit is not None

    await eventually(is_back, LONG, "it is ready again")
    assert (last_exit(engine, want).asked, last_exit(engine, want).save_seen) == (True, True)


async def test_a_game_that_takes_too_much_memory_is_told_as_such(stage: KubeStage) -> None:
    """Whether or not its keeper died with it."""
    engine = await stage.engine()
    want = stage.want()
    await engine.apply(want, stage.launch(engine, want, "memory-hog"))

    def look() -> bool:
        seen = process_of(engine, want)
        return seen is not None and seen.last_exit is not None and seen.last_exit.out_of_memory

    await eventually(look, LONG, "out of memory is told")


async def test_an_image_that_does_not_exist_is_told(stage: KubeStage) -> None:
    """In words that name it."""
    engine = await stage.engine()
    want = stage.want()
    await engine.apply(want, replace(stage.launch(engine, want, "good"), image="no-such-game"))
    await told(engine, want, "image")
    await told(engine, want, "no-such-game")


async def test_a_server_that_no_node_has_room_for_waits_and_says_so(stage: KubeStage) -> None:
    """Until there is one."""
    engine = await stage.engine()
    want = replace(stage.want(), memory_mib=10_000_000)
    await engine.apply(want, stage.launch(engine, want, "good"))
    await told(engine, want, "Waiting for a node")
    await engine.apply(replace(want, running=False), stage.launch(engine, want, "good"))
    await eventually(lambda: process_of(engine, want) is None, 30, "what never ran is stopped")


async def test_a_quota_that_is_used_up_is_told(stage: KubeStage) -> None:
    """For pods as a wait, since the cluster tries again; for objects as a refusal."""
    stage.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "games", "namespace": stage.namespace},
            "spec": {"hard": {"pods": "0", "persistentvolumeclaims": "1"}},
        }
    )
    quota = "--output=jsonpath={.status.hard.pods}"
    await eventually(lambda: stage.kubectl("get", "resourcequota", "games", quota) == "0", 20, "the quota counts")
    engine = await stage.engine()
    want = stage.want()
    await engine.apply(want, stage.launch(engine, want, "good"))
    await told(engine, want, "quota")
    second = stage.want()
    with pytest.raises(EngineRefused) as refused:
        await engine.apply(second, stage.launch(engine, second, "good"))
    assert refused.value.reason == "QuotaExceeded"


async def test_a_namespace_that_is_not_there_is_refused_with_what_to_do(stage: KubeStage) -> None:
    """Before the chart was installed, by who may look into every namespace."""
    admin = KubeConfig.from_file(stage.cluster.kubeconfig)
    engine = KubeEngine(admin, replace(stage.options, namespace="nowhere"))
    await engine.start(lambda _: None)
    want = stage.want()
    with pytest.raises(EngineRefused, match="chart"):
        await engine.apply(want, stage.launch(engine, want, "good"))
    await engine.close()


async def test_a_purge_leaves_no_volume_though_its_class_retains_it(stage: KubeStage) -> None:
    """And a deletion of anything else does not touch it."""
    engine = await stage.engine()
    want, launch = await started(stage, engine)
    await engine.apply(replace(want, running=False), launch)
    await reaches(engine, want, Phase.STOPPED)
    assert len(volumes_of(stage)) == 1
    await engine.delete(Removal(want.server_id, 1))
    await engine.delete(Removal(want.server_id))
    await eventually(lambda: volumes_of(stage) == [], 30, "the volume is gone")
    assert stage.kubectl("get", "deployments,services,secrets,persistentvolumeclaims,pods", "--output=name") == ""


async def test_a_player_comes_in_through_the_load_balancer(stage: KubeStage) -> None:
    """From the host, at the address that the Service was given; until then the wait is told."""
    stage.options = replace(stage.options, service_type=ServiceType.LOAD_BALANCER)
    engine = await stage.engine()
    want = replace(stage.want(endpoints=GAME), address=WantedAddress())
    launch = stage.launch(engine, want, "good")
    launch = replace(launch, arguments=(*launch.arguments, "4000"))
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)

    def has_address() -> str | None:
        return stage.kubectl("get", "service", want.server_id, "--output=jsonpath={.status.loadBalancer.ingress[0].ip}")

    address = await eventually(has_address, 30, "the Service has an address")

    def joins() -> bool:
        try:
            socket.create_connection((address, 4000), timeout=1).close()
        except OSError:
            return False
        return True

    await eventually(joins, 30, f"a player reaches {address}:4000")
    seen = process_of(engine, want)
    assert seen is not None
    assert seen.pending is None
