"""From objects to what was seen of a process. Pure, so that a controller that comes back sees the same."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from overworld.domain.observed import Phase, ProcessSeen, WayIn
from overworld.domain.servers import Place
from overworld.domain.worlds import DiskSeen
from overworld.engines.kube.exits import Ended, read_end, recall, restarts_of, spec_hash_of
from overworld.engines.kube.models import Claim, Deployment, Pod, Service
from overworld.engines.kube.names import RESTARTS, SPEC_HASH
from overworld.engines.kube.pending import say_pending
from overworld.engines.kube.volumes import see_disk

_BACK_OFF = re.compile(r"back-off (?:(\d+)m)?(?:(\d+)s)? restarting")


@dataclass(frozen=True, slots=True)
class ServerObjects:
    """Everything in the cluster that belongs to one server."""

    deployment: Deployment | None
    pods: Collection[Pod]
    claims: Collection[Claim]
    services: Collection[Service]
    stewards: Collection[Pod] = ()
    """Those without a game."""

    @property
    def exists(self) -> bool:
        """Whether there is anything."""
        return bool(self.deployment or self.pods or self.claims or self.services or self.stewards)

    @property
    def worlds(self) -> frozenset[int]:
        """The generations that there are, whole and not being removed."""
        return frozenset(claim.metadata.world_generation for claim in self.claims if claim.is_world)

    @property
    def begun(self) -> frozenset[int]:
        """The generations that wait for their folder in a share."""
        waiting = (claim for claim in self.claims if claim.is_in_share and claim.is_being_made)
        return frozenset(claim.metadata.world_generation for claim in waiting if claim.status.phase != "Bound")

    @property
    def unwanted(self) -> frozenset[int]:
        """The generations that will never be worlds. Never the one that the server runs on, whoever has marked it."""
        deployment = self.deployment
        present = deployment.spec.template.metadata.world_generation if deployment is not None else None
        return frozenset(claim.metadata.world_generation for claim in self.claims if claim.is_unwanted) - {present}

    @property
    def given_up(self) -> frozenset[int]:
        """Those of them that are folders in a share, once no pod has them."""
        unwanted = self.unwanted
        if not unwanted:  # nearly always
            return unwanted
        held = frozenset[int]().union(*(pod.worlds for pod in (*self.pods, *self.stewards)))
        shared = {claim.metadata.world_generation for claim in self.claims if claim.is_in_share}
        return (unwanted & shared) - held

    @property
    def is_wanted(self) -> bool:
        """Whether a process should run."""
        deployment = self.deployment
        return (
            deployment is not None and deployment.spec.replicas > 0 and deployment.metadata.deletion_timestamp is None
        )

    def pod(self) -> Pod | None:
        """The pod that matters: the one that runs or ends (a replacement waits for its volume), else the newest that
        is to run. None if nothing of any pod runs or will."""
        living = sorted(
            (pod for pod in self.pods if not pod.is_over),
            key=lambda pod: (pod.metadata.deletion_timestamp is None, not pod.spec.node_name, pod.metadata.name),
        )
        return living[0] if living else None

    def last_pod(self) -> Pod | None:
        """The newest of the pods that are over and whose end was not written down yet."""
        over = [pod for pod in self.pods if pod.is_over and read_end(pod) is not None]
        return max(over, key=lambda pod: pod.metadata.creation_timestamp or _BEGINNING, default=None)


_BEGINNING = datetime.fromtimestamp(0, UTC)


def see_process(objects: ServerObjects, wished_at: datetime) -> ProcessSeen | None:
    """The process of a server. ``wished_at`` is when its Deployment was last seen to begin or cease to want one: the
    moment before there is a pod has no time of its own in the cluster."""
    before = _see_last(objects)
    pod = objects.pod()
    deployment = objects.deployment
    if pod is None:
        if not objects.is_wanted or deployment is None:
            return before
        annotations = deployment.spec.template.metadata.annotations
        return ProcessSeen(
            phase=Phase.STARTING,
            since=wished_at,
            spec_hash=annotations.get(SPEC_HASH, ""),
            restarts=int(annotations.get(RESTARTS, "0")),
            last_exit=before.last_exit if before is not None else None,
            pending=say_pending(deployment, None, objects.claims),
        )
    seen = _see_pod(pod, objects)
    if not objects.is_wanted and pod.metadata.deletion_timestamp is None:  # its end has been asked for just now
        seen = replace(seen, phase=Phase.STOPPING, since=wished_at, next_start_at=None, pending=None)
    if seen.last_exit is None and before is not None:
        seen = replace(seen, last_exit=before.last_exit)
    return seen


def see_way_in(objects: ServerObjects) -> WayIn | None:
    """The server's Service, and what the balancer says of it."""
    service = next((one for one in objects.services if one.metadata.deletion_timestamp is None), None)
    if service is None:
        return None
    if service.spec.type == "ClusterIP":
        hosts = [service.spec.cluster_ip]
    else:
        hosts = [ingress.ip or ingress.hostname for ingress in service.status.load_balancer.ingress]
    return WayIn(tuple(filter(None, hosts)), service.metadata.annotations)


def see_place(objects: ServerObjects, process: ProcessSeen | None) -> Place:
    """Where a console finds the server."""
    pod = objects.pod()
    return Place(
        pod=pod.metadata.name if pod is not None else None,
        takes_commands=pod is not None and pod.accepts_commands,
        runs=process is not None and process.phase in {Phase.STARTING, Phase.READY},
        last_exit=process.last_exit if process is not None else None,
    )


def see_disks(objects: ServerObjects) -> dict[int, DiskSeen]:
    """The disks of its worlds, by generation."""
    worlds = [claim for claim in objects.claims if claim.is_world]
    return {claim.metadata.world_generation: disk for claim in worlds if (disk := see_disk(claim)) is not None}


def see_node(objects: ServerObjects) -> str | None:
    """The node that the server runs on."""
    pod = objects.pod()
    return (pod.spec.node_name or None) if pod is not None else None


def _see_last(objects: ServerObjects) -> ProcessSeen | None:
    """The last process that ended: from a pod that is over, else from memory."""
    pod = objects.last_pod()
    ended = read_end(pod) if pod is not None else None
    if pod is None or ended is None or ended.exit is None:
        return recall(objects.deployment)
    return ProcessSeen(Phase.STOPPED, ended.exit.at, spec_hash_of(pod), restarts_of(pod), ended.crashes, ended.exit)


def _see_pod(pod: Pod, objects: ServerObjects) -> ProcessSeen:
    ended = read_end(pod)
    phase, since, next_start_at = _phase(pod, ended)
    return ProcessSeen(
        phase=phase,
        since=since,
        spec_hash=spec_hash_of(pod),
        restarts=restarts_of(pod),
        crashes=ended.crashes if ended is not None else 0,
        last_exit=ended.exit if ended is not None else None,
        next_start_at=next_start_at,
        pending=say_pending(objects.deployment, pod, objects.claims) if phase is Phase.STARTING else None,
    )


def _phase(pod: Pod, ended: Ended | None) -> tuple[Phase, datetime, datetime | None]:
    """Where it is, since when, and when it starts again."""
    metadata, game = pod.metadata, pod.game
    if metadata.deletion_timestamp is not None:
        grace = timedelta(seconds=metadata.deletion_grace_period_seconds or 0)
        return Phase.STOPPING, metadata.deletion_timestamp - grace, None
    created = metadata.creation_timestamp or _BEGINNING
    if game is None:
        return Phase.STARTING, created, None
    running = game.state.running
    if ended is not None and (running is None or not game.started):
        since = ended.exit.at if ended.exit is not None else created
        return Phase.WAITING, since, _next_start(pod, ended)
    if running is None:
        return Phase.STARTING, created, None
    if game.ready:
        ready = next((one for one in pod.status.conditions if one.type == "Ready"), None)
        return Phase.READY, (ready.last_transition_time if ready else None) or running.started_at or created, None
    begun = running.started_at or created
    # In a container that was started again, the game begins only after the pause.
    return Phase.STARTING, max(begun, ended.next_start_at or begun) if ended is not None else begun, None


def _next_start(pod: Pod, ended: Ended) -> datetime | None:
    """The later of the keeper's pause and the kubelet's own."""
    game = pod.game
    waiting = game.state.waiting if game is not None else None
    terminated = game.last_state.terminated if game is not None else None
    found = _BACK_OFF.search(waiting.message) if waiting is not None else None
    if found is None or terminated is None or terminated.finished_at is None:
        return ended.next_start_at
    minutes, seconds = found.groups(default="0")
    until = terminated.finished_at + timedelta(minutes=int(minutes), seconds=int(seconds))
    return max(until, ended.next_start_at or until)
