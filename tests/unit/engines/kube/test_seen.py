"""From pods to phases: every state that a pod passes through, and those that it should not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from overworld.domain.observed import Phase, ProcessSeen
from overworld.engines.kube.exits import remember
from overworld.engines.kube.models import Claim, Pod
from overworld.engines.kube.names import BASE_GENERATION, BEING_MADE, STEWARD_OF, UNWANTED, WORLD_GENERATION
from overworld.engines.kube.seen import ServerObjects, see_process, see_way_in
from unit.engines.kube.cluster_objects import (
    ENDED_AT,
    READY,
    SERVER_ID,
    STARTED,
    claim,
    deployment,
    memory,
    objects,
    pod,
    running,
    service,
    terminated,
    told,
    waiting,
)

WISHED = datetime(2026, 11, 23, 9, 59, 59, tzinfo=UTC)
ENDED_TIME = datetime.fromtimestamp(ENDED_AT, UTC)
READY_CONDITION = {"type": "Ready", "status": "True", "lastTransitionTime": READY}


def see(*pods: Pod, **changes: Any) -> ProcessSeen:
    """The process of a server with these pods."""
    seen = see_process(objects(*pods, **changes), WISHED)
    assert seen is not None
    return seen


def test_nothing_there_is_no_process() -> None:
    """And none is remembered."""
    assert see_process(ServerObjects(None, (), (), ()), WISHED) is None
    assert see_process(objects(of=deployment(replicas=0)), WISHED) is None


def test_before_there_is_a_pod_it_starts() -> None:
    """From the moment of the wish, under the spec of the template."""
    seen = see()
    assert (seen.phase, seen.since, seen.spec_hash, seen.restarts) == (Phase.STARTING, WISHED, "spec-1", 2)


@pytest.mark.parametrize(
    ("one", "phase"),
    [
        (pod(node="", phase="Pending"), Phase.STARTING),
        (pod(phase="Pending"), Phase.STARTING),
        (pod(state=waiting("ContainerCreating"), started=False), Phase.STARTING),
        (pod(state=waiting("ImagePullBackOff"), started=False), Phase.STARTING),
        (pod(state=running(), started=False), Phase.STARTING),
        (pod(state=running()), Phase.STARTING),
        (pod(state=running(), ready=True, conditions=[READY_CONDITION]), Phase.READY),
        (pod(state=terminated(told()), started=False), Phase.WAITING),
        (pod(state=waiting("CrashLoopBackOff"), last_state=terminated(told()), started=False), Phase.WAITING),
        (pod(state=running(), last_state=terminated(told()), started=False, restarts=1), Phase.WAITING),
        (pod(state=running(), last_state=terminated(told()), restarts=1), Phase.STARTING),
        (pod(state=running(), last_state=terminated(told()), restarts=1, ready=True), Phase.READY),
        (pod(state=running(), ready=True, deleted="2026-11-23T10:31:00Z"), Phase.STOPPING),
        (pod(state=terminated(told()), deleted="2026-11-23T10:31:00Z"), Phase.STOPPING),
    ],
)
def test_each_state_of_a_pod_is_a_phase(one: Pod, phase: Phase) -> None:
    """While it is wanted running."""
    assert see(one).phase is phase


def test_ready_is_since_it_was_ready() -> None:
    """Not since it was started."""
    assert see(pod(state=running(), ready=True, conditions=[READY_CONDITION])).since.isoformat() == (
        READY.replace("Z", "+00:00")
    )


def test_a_crash_is_told_in_the_keepers_words() -> None:
    """Exit, last words, count, and when it starts again."""
    seen = see(pod(state=running(), last_state=terminated(told()), started=False, restarts=1))
    assert (seen.crashes, seen.since) == (1, ENDED_TIME)
    assert seen.next_start_at == ENDED_TIME + timedelta(seconds=1)
    assert seen.last_exit is not None
    assert (seen.last_exit.status, seen.last_exit.asked, seen.last_exit.lines) == (1, False, ("cannot open the map",))


def test_the_kubelets_pause_counts_where_it_is_longer() -> None:
    """Its message is the only place that tells it."""
    message = "back-off 1m20s restarting failed container=game pod=x"
    seen = see(pod(state=waiting("CrashLoopBackOff", message), last_state=terminated(told()), started=False))
    assert seen.next_start_at == datetime(2026, 11, 23, 10, 31, 20, tzinfo=UTC)


def test_a_keeper_killed_for_memory_is_told_by_the_kubelet() -> None:
    """Without a message: signal, memory, and a count."""
    end = terminated(code=137, reason="OOMKilled")
    seen = see(pod(state=waiting("CrashLoopBackOff"), last_state=end, started=False, restarts=3))
    assert seen.last_exit is not None
    assert (seen.last_exit.signal, seen.last_exit.out_of_memory, seen.crashes) == ("SIGKILL", True, 3)


def test_memory_that_only_the_kubelet_noticed_is_still_told() -> None:
    """The keeper saw a SIGKILL; the kubelet knows why."""
    message = told(exit={"status": None, "signal": "SIGKILL"})
    seen = see(pod(state=terminated(message, code=137, reason="OOMKilled"), started=False))
    assert seen.last_exit is not None
    assert seen.last_exit.out_of_memory


def test_a_torn_message_is_an_end_without_words_of_the_keeper() -> None:
    """Nothing that a pod says can break the engine."""
    seen = see(pod(state=terminated(told()[:40], code=3), started=False))
    assert seen.last_exit is not None
    assert (seen.last_exit.status, seen.phase) == (3, Phase.WAITING)


def test_what_is_not_wanted_any_more_stops_before_its_pod_is_deleted() -> None:
    """Between our write and the cluster's."""
    seen = see(pod(state=running(), ready=True), of=deployment(replicas=0))
    assert (seen.phase, seen.since) == (Phase.STOPPING, WISHED)


def test_stopping_is_since_the_deletion_was_asked_for() -> None:
    """The API tells when the grace ends."""
    seen = see(pod(state=running(), deleted="2026-11-23T10:31:00Z", grace=20))
    assert seen.since == datetime(2026, 11, 23, 10, 30, 40, tzinfo=UTC)


def test_an_end_is_the_same_before_and_after_it_was_written_down() -> None:
    """The pod that is over, and the Deployment that remembers it, tell one story."""
    message = told(exit={"status": 0, "asked": True, "save_seen": True, "lines": ["world saved"]}, crashes=0)
    over = pod(state=terminated(message, code=0), phase="Succeeded", deleted="2026-11-23T10:31:00Z")
    before = see(over, of=deployment(replicas=0))
    remembered = memory().replace('"spec-0"', '"spec-1"').replace('"restarts":1', '"restarts":2')
    after = see(of=deployment(replicas=0, memory=remembered))
    assert before == after
    assert before.phase is Phase.STOPPED


def test_the_last_end_stays_known_while_the_next_process_runs() -> None:
    """Until that one ends."""
    seen = see(pod(state=running(), ready=True), of=deployment(memory=memory()))
    assert seen.phase is Phase.READY
    assert seen.last_exit is not None
    assert seen.last_exit.save_seen


def test_a_memory_that_somebody_wrote_over_is_none() -> None:
    """It is an annotation: anybody with the right can."""
    assert see_process(objects(of=deployment(replicas=0, memory="{}")), WISHED) is None


def test_the_pod_that_still_saves_matters_more_than_its_replacement() -> None:
    """The replacement waits for the volume."""
    leaving = pod("b7k2m9q4t6w8-1-a", state=running(), deleted="2026-11-23T10:31:00Z")
    coming = pod("b7k2m9q4t6w8-2-b", node="", phase="Pending")
    assert see(coming, leaving).phase is Phase.STOPPING


def test_an_evicted_pod_is_over_and_its_replacement_matters() -> None:
    """It stays as an object, with what it said last."""
    evicted = pod(state=terminated(told()), phase="Failed")
    seen = see(evicted, pod("b7k2m9q4t6w8-2-b", state=running(), ready=True))
    assert seen.phase is Phase.READY
    assert seen.last_exit is not None


@pytest.mark.parametrize(
    ("one", "is_over"),
    [
        (pod(state=running()), False),
        (pod(state=running(), deleted="2026-11-23T10:31:00Z"), False),
        (pod(state=terminated(told()), deleted="2026-11-23T10:31:00Z"), False),  # its kubelet is not done yet
        (pod(state=running(), deleted="2026-11-23T10:31:00Z", grace=0), True),
        (pod(node="", phase="Pending", deleted="2026-11-23T10:31:00Z"), True),
        (pod(phase="Failed"), True),
        (pod(phase="Succeeded"), True),
    ],
)
def test_a_pod_is_over_only_when_somebody_who_knows_says_so(one: Pod, is_over: bool) -> None:
    """A pod on a dead node is not: it may still write."""
    assert one.is_over is is_over


def test_a_game_that_was_lost_with_its_node_is_told_so() -> None:
    """Its kubelet never said how it ended: nobody asked it to, no save was seen, and it is no crash."""
    silent = [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-23T10:20:00Z"}]
    lost = pod(state=running(), deleted="2026-11-23T10:31:00Z", grace=0, conditions=silent)
    written = remember(lost)
    assert written is not None
    for seen in (
        see(lost, of=deployment(replicas=0)),
        see_process(objects(of=deployment(replicas=0, memory=written)), WISHED),
    ):
        assert seen is not None
        assert (seen.phase, seen.crashes) == (Phase.STOPPED, 0)
        end = seen.last_exit
        assert end is not None
        assert (end.lost_with, end.asked, end.save_seen, end.status, end.signal) == ("node-1", False, None, None, None)
        assert end.at == datetime(2026, 11, 23, 10, 20, tzinfo=UTC)


@pytest.mark.parametrize("mark", [BEING_MADE, UNWANTED])
def test_what_is_still_being_made_is_no_world(mark: str) -> None:
    """Nor what will never be one; but there is something."""
    seen = ServerObjects(deployment=None, pods=(), claims=(claim(2, unfinished=mark),), services=())
    assert seen.worlds == set()
    assert seen.exists


def of_worker(one: Claim, *stewards: Pod) -> ServerObjects:
    """A server that runs on its first world, and what workers have begun besides."""
    return replace(objects(), claims=(claim(1), one), stewards=stewards)


@pytest.mark.parametrize(
    ("one", "waits"),
    [
        (claim(2, phase="Pending", unfinished=BEING_MADE, storage_class=""), True),
        (claim(2, phase="Bound", unfinished=BEING_MADE, storage_class=""), False),
        (claim(2, phase="Pending", unfinished=UNWANTED, storage_class=""), False),
        (claim(2, phase="Pending", storage_class=""), False),
        (claim(2, phase="Pending", unfinished=BEING_MADE), False),
        (claim(2, phase="Pending", unfinished=BEING_MADE, storage_class="", deleted=STARTED), False),
    ],
    ids=["begun", "has it", "given up", "the controller's own", "a disk", "being removed"],
)
def test_what_is_begun_in_a_share_waits_for_its_folder(one: Claim, waits: bool) -> None:
    """Until it has it, and nothing else does."""
    assert of_worker(one).begun == ({2} if waits else set())


def test_what_was_given_up_in_a_share_is_removed_when_no_pod_has_it() -> None:
    """Neither a steward that works on it, nor one that reads it for another generation; a disk is not the planner's."""
    shared = claim(2, unfinished=UNWANTED, storage_class="")
    assert of_worker(shared).given_up == {2}
    for has in ({WORLD_GENERATION: "2"}, {WORLD_GENERATION: "3", BASE_GENERATION: "2"}):
        steward = replace_labels(pod(), {STEWARD_OF: SERVER_ID, **has})
        assert of_worker(shared, steward).given_up == set()
    assert of_worker(claim(2, unfinished=UNWANTED)).given_up == set()
    assert of_worker(claim(2, unfinished=BEING_MADE, storage_class="")).given_up == set()


def test_the_world_that_a_server_runs_on_is_never_unwanted() -> None:
    """Whoever has marked it."""
    seen = replace(objects(), claims=(claim(1, unfinished=UNWANTED, storage_class=""),))
    assert not seen.unwanted
    assert not seen.given_up


def replace_labels(one: Pod, labels: dict[str, str]) -> Pod:
    """The pod under other labels."""
    return structs.replace(one, metadata=structs.replace(one.metadata, labels=labels))


def test_worlds_that_are_being_removed_are_none() -> None:
    """The others are there."""
    seen = replace(objects(), claims=(claim(1, deleted="2026-11-23T10:31:00Z"), claim(2)))
    assert seen.worlds == {2}
    assert seen.exists


def test_the_way_in_is_what_the_balancer_says() -> None:
    """Nothing yet, an address, or the one inside the cluster; none without a Service."""
    leased = service({"ip": "203.0.113.8"}, leased="203.0.113.9")
    seen = see_way_in(objects(services=(leased,)))
    assert seen is not None
    assert seen.hosts == ("203.0.113.8",)
    assert seen.annotations["overworld/address"] == "203.0.113.9"
    nothing_yet = see_way_in(objects(services=(service(),)))
    assert nothing_yet is not None
    assert not nothing_yet.hosts
    assert see_way_in(objects()) is None
