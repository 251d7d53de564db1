"""The end of a process: as the keeper tells it in the pod's termination message, as the kubelet tells it where the
keeper could not, and as it is remembered on the Deployment once the pod is gone. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from signal import Signals

import msgspec
from msgspec import Struct

from overworld.domain.exits import Exit
from overworld.domain.observed import Phase, ProcessSeen, restart_delay
from overworld.engines.kube.models import ContainerStatus, Deployment, Pod, Terminated
from overworld.engines.kube.names import LAST_EXIT, RESTARTS, SPEC_HASH


class ToldExit(Struct, frozen=True):
    """An exit in the keeper's words."""

    at: float
    status: int | None
    signal: str | None
    asked: bool
    save_seen: bool | None
    out_of_memory: bool
    lines: tuple[str, ...]
    lost_with: str | None = None

    def as_exit(self) -> Exit:
        """In the words of the port."""
        return Exit(
            at=datetime.fromtimestamp(self.at, UTC),
            status=self.status,
            signal=self.signal,
            asked=self.asked,
            save_seen=self.save_seen,
            out_of_memory=self.out_of_memory,
            lines=self.lines,
            lost_with=self.lost_with,
        )


class Message(Struct, frozen=True):
    """What a keeper leaves as its container's termination message."""

    exit: ToldExit | None
    crashes: int
    next_start_at: float | None
    asked: bool


class Memory(Struct, frozen=True):
    """What the Deployment remembers of the last process."""

    exit: ToldExit
    crashes: int
    spec_hash: str
    restarts: int


class Ended(Struct, frozen=True):
    """The end of one container, however it is known."""

    exit: Exit | None
    crashes: int
    next_start_at: datetime | None


def read_end(pod: Pod) -> Ended | None:
    """The newest end of the pod's container; None if it never ended."""
    game = pod.game
    if game is None:
        return None
    if pod.is_lost:
        return Ended(_lose(pod), 0, None)
    terminated = game.state.terminated or game.last_state.terminated
    if terminated is None:
        return None
    try:
        told = msgspec.json.decode(terminated.message, type=Message)
    except msgspec.DecodeError:
        return _read_without_keeper(pod, game, terminated)
    end = told.exit.as_exit() if told.exit is not None else None
    if end is not None and terminated.reason == "OOMKilled":
        end = replace(end, out_of_memory=True)
    next_start_at = None if told.next_start_at is None else datetime.fromtimestamp(told.next_start_at, UTC)
    return Ended(end, told.crashes, next_start_at)


def _lose(pod: Pod) -> Exit:
    """The end of a game whose node never told of it: when the node fell silent, as far as that is known."""
    ready = next((one for one in pod.status.conditions if one.type == "Ready" and one.status == "False"), None)
    silent_since = ready.last_transition_time if ready is not None else None
    return Exit(
        at=silent_since or pod.metadata.deletion_timestamp or datetime.fromtimestamp(0, UTC),
        status=None,
        signal=None,
        asked=False,
        save_seen=None,
        lost_with=pod.spec.node_name,
    )


def _read_without_keeper(pod: Pod, game: ContainerStatus, terminated: Terminated) -> Ended:
    """The keeper was killed too: by the kernel for its memory, or by the kubelet after a grace that was not kept."""
    at = terminated.finished_at or pod.metadata.deletion_timestamp or pod.metadata.creation_timestamp
    code = terminated.exit_code
    signal = Signals(code - 128).name if code - 128 in set(Signals) else None
    asked = pod.metadata.deletion_timestamp is not None and terminated is game.state.terminated
    crashes = 0 if asked else game.restart_count + (terminated is game.state.terminated)
    end = Exit(
        at=at or datetime.fromtimestamp(0, UTC),
        status=None if signal is not None else code,
        signal=signal,
        asked=asked,
        save_seen=False if asked else None,
        out_of_memory=terminated.reason == "OOMKilled",
        lines=tuple(terminated.message.splitlines()[-20:]),
    )
    return Ended(end, crashes, None if asked else end.at + restart_delay(crashes))


def remember(pod: Pod) -> str | None:
    """What the Deployment should remember of a pod that is over; None if no process of it ever ended."""
    ended = read_end(pod)
    if ended is None or ended.exit is None:
        return None
    end = ended.exit
    told = ToldExit(
        end.at.timestamp(),
        end.status,
        end.signal,
        end.asked,
        end.save_seen,
        end.out_of_memory,
        end.lines,
        end.lost_with,
    )
    memory = Memory(told, ended.crashes, _annotation(pod, SPEC_HASH), restarts_of(pod))
    return msgspec.json.encode(memory).decode()


def recall(deployment: Deployment | None) -> ProcessSeen | None:
    """The last process as the Deployment remembers it; None if none ever ended."""
    if deployment is None or (text := deployment.metadata.annotations.get(LAST_EXIT)) is None:
        return None
    try:
        memory = msgspec.json.decode(text, type=Memory)
    except msgspec.DecodeError:
        return None  # somebody's hand was in it
    end = memory.exit.as_exit()
    return ProcessSeen(
        phase=Phase.STOPPED,
        since=end.at,
        spec_hash=memory.spec_hash,
        restarts=memory.restarts,
        crashes=memory.crashes,
        last_exit=end,
    )


def restarts_of(pod: Pod) -> int:
    """The token under which the pod was started."""
    text = _annotation(pod, RESTARTS)
    return int(text) if text.isdecimal() else 0


def spec_hash_of(pod: Pod) -> str:
    """The spec under which the pod was started."""
    return _annotation(pod, SPEC_HASH)


def _annotation(pod: Pod, name: str) -> str:
    return pod.metadata.annotations.get(name, "")
