"""The reality behind the memory engine: it outlives the engines that look at it, as processes outlive a controller.

By default everything happens at once and costs next to nothing. Time moves by the world's clock: a real one moves by
itself, with a clock of one's own call ``tick`` after turning it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.domain.exits import Exit
from overworld.domain.games import Protocol
from overworld.domain.observed import Launch, Observed, Phase, ProcessSeen, Removal, Want, restart_delay
from overworld.domain.servers import ServerId
from overworld.engines.base import Line, Wake

KEPT_LINES = 1000
STABLE_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a game behaves. None for ``ready_after`` is never; for ``ends_after`` (counted from its start) it does not
    end by itself; for ``stop_takes`` it ignores its stop. ``saves`` False: it quits without writing its world."""

    ready_after: timedelta | None = timedelta()
    ends_after: timedelta | None = None
    exit_status: int = 1
    out_of_memory: bool = False
    stop_takes: timedelta | None = timedelta()
    saves: bool = True
    lines: tuple[str, ...] = ()


NORMAL = Behaviour()


@dataclass(slots=True)
class Machine:
    """All that exists of one server. ``turn`` grows with every change of phase, so that a late timer does nothing."""

    worlds: frozenset[int] = frozenset()
    begun: frozenset[int] = frozenset()
    given_up: frozenset[int] = frozenset()
    process: ProcessSeen | None = None
    want: Want | None = None
    proves_save: bool = False
    grace: timedelta = timedelta()
    accepts_commands: bool = False
    started_at: datetime | None = None
    next_want: Want | None = None  # for the next start after a crash
    turn: int = 0


@dataclass(slots=True)
class MemoryWorld:
    """The servers that exist. ``behaviours`` by server id; ``on_change`` hears (server id, what) of every start, end
    and removal; ``taken_ports`` are used by somebody else."""

    clock: Callable[[], datetime] | None = None
    machines: dict[ServerId, Machine] = field(default_factory=dict)
    behaviours: dict[ServerId, Behaviour] = field(default_factory=dict)
    taken_ports: set[tuple[Protocol, int]] = field(default_factory=set)
    on_change: Callable[[ServerId, str], None] | None = None
    consoles: dict[ServerId, deque[Line]] = field(default_factory=dict)
    commands: dict[ServerId, list[str]] = field(default_factory=dict)
    watchers: list[Wake] = field(default_factory=list)
    alarms: list[Callable[[datetime], None]] = field(default_factory=list)
    _timers: list[tuple[datetime, int, ServerId, int, Callable[[ServerId], None]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def now(self) -> datetime:
        """The time of this world."""
        return datetime.now(UTC) if self.clock is None else self.clock()

    def tick(self) -> None:
        """Let everything happen that is due by now."""
        while self._timers and self._timers[0][0] <= self.now():
            _, _, server_id, turn, action = heapq.heappop(self._timers)
            machine = self.machines.get(server_id)
            if machine is not None and machine.turn == turn:
                action(server_id)

    def next_due(self) -> datetime | None:
        """When ``tick`` has something to do next."""
        return self._timers[0][0] if self._timers else None

    def say(self, server_id: ServerId, text: str) -> None:
        """A line of the game's output."""
        lines = self.consoles.setdefault(server_id, deque(maxlen=KEPT_LINES))
        lines.append(Line(f"{next(self._numbers):012d}", self.now(), text))

    def observe(self, server_id: ServerId) -> Observed:
        """The server as it is."""
        machine = self.machines.get(server_id)
        if machine is None:
            return Observed(server_id, complete=True)
        begun, given_up = machine.begun, machine.given_up
        return Observed(server_id, True, machine.process, machine.worlds, exists=True, begun=begun, given_up=given_up)

    def apply(self, want: Want, launch: Launch) -> None:
        """What ``Engine.apply`` promises, at once."""
        machine = self.machines.get(want.server_id)
        process = machine.process if machine is not None else None
        if machine is None or want.world_generation not in machine.worlds:
            if not want.running and not launch.programs:  # nothing to make a world for: it is only to be stopped
                if machine is None:
                    return
            elif not want.may_make_world:
                raise EngineRefused("WorldMissing", "The world is gone; nothing is started on an empty one.")
            else:
                machine = self.machines.setdefault(want.server_id, Machine())
                machine.worlds |= {want.world_generation}
                self._tell(want.server_id)
        assert machine is not None
        if process is None or process.phase is Phase.STOPPED:
            if want.running:
                machine.proves_save = launch.stop.saved is not None
                machine.grace = launch.stop.grace
                machine.accepts_commands = launch.accepts_commands
                self._start(want.server_id, want, crashes=0)
        elif process.phase is not Phase.STOPPING:
            if not want.running or process.restarts != want.restarts:
                self._stop(want.server_id)
            elif process.phase is Phase.WAITING and process.spec_hash != want.spec_hash:
                machine.want = want
                self._turn(want.server_id, replace(process, spec_hash=want.spec_hash), keep_timers=True)

    def make_world(self, server_id: ServerId, generation: int) -> None:
        """A new generation beside the present one, as a worker makes it where the server has its place."""
        if (machine := self.machines.get(server_id)) is not None:
            machine.worlds |= {generation}
            self._tell(server_id)

    def begin_world(self, server_id: ServerId, generation: int) -> None:
        """A generation in a share that a worker waits for the folder of."""
        self.machines[server_id].begun |= {generation}
        self._tell(server_id)

    def place_world(self, server_id: ServerId, generation: int) -> None:
        """What ``Engine.place_world`` promises: nobody waits for its folder any more."""
        if (machine := self.machines.get(server_id)) is not None:
            machine.begun -= {generation}
            self._tell(server_id)

    def give_up_world(self, server_id: ServerId, generation: int) -> None:
        """The worker makes nothing of it."""
        machine = self.machines[server_id]
        machine.begun -= {generation}
        machine.given_up |= {generation}
        self._tell(server_id)

    def delete(self, removal: Removal) -> None:
        """What ``Engine.delete`` promises."""
        machine = self.machines.get(removal.server_id)
        if machine is None:
            return
        is_active = machine.process is not None and machine.process.phase is not Phase.STOPPED
        its_own = machine.want.world_generation if machine.want is not None else None
        if is_active and removal.world_generation in {None, its_own}:
            raise EngineUnavailable("Something still runs on it.")
        if removal.world_generation is None:
            machine.process = None
        elif removal.world_generation in machine.worlds:
            machine.worlds -= {removal.world_generation}
            self._hear(removal.server_id, f"removed world {removal.world_generation}")
        else:
            machine.begun -= {removal.world_generation}
            machine.given_up -= {removal.world_generation}
        if not (machine.worlds or machine.begun or machine.given_up) and machine.process is None:
            del self.machines[removal.server_id]
            self.consoles.pop(removal.server_id, None)
        self._tell(removal.server_id)

    def end(self, server_id: ServerId, status: int | None = 1, signal: str | None = None) -> None:
        """The running game ends without being asked to."""
        process = self._process(server_id)
        if process is not None and process.phase in {Phase.STARTING, Phase.READY, Phase.STOPPING}:
            asked = process.phase is Phase.STOPPING
            self._end(server_id, Exit(self.now(), status, signal, asked, save_seen=None if asked else False))

    def _process(self, server_id: ServerId) -> ProcessSeen | None:
        machine = self.machines.get(server_id)
        return machine.process if machine is not None else None

    def _start(self, server_id: ServerId, want: Want, crashes: int) -> None:
        machine, now = self.machines[server_id], self.now()
        behaviour = self.behaviours.get(server_id, NORMAL)
        last_exit = machine.process.last_exit if machine.process is not None else None
        machine.want, machine.started_at = want, now
        is_ready = behaviour.ready_after == timedelta()
        phase = Phase.READY if is_ready else Phase.STARTING
        self._hear(server_id, f"started on world {want.world_generation}")
        self._turn(server_id, ProcessSeen(phase, now, want.spec_hash, want.restarts, crashes, last_exit))
        for line in behaviour.lines:
            self.say(server_id, line)
        if not is_ready and behaviour.ready_after is not None:
            self._after(behaviour.ready_after, server_id, self._become_ready)
        if behaviour.ends_after is not None:
            self._after(behaviour.ends_after, server_id, self._end_by_itself)

    def _become_ready(self, server_id: ServerId) -> None:
        process = self.machines[server_id].process
        assert process is not None
        self._turn(server_id, replace(process, phase=Phase.READY, since=self.now()), keep_timers=True)

    def _end_by_itself(self, server_id: ServerId) -> None:
        behaviour = self.behaviours.get(server_id, NORMAL)
        self._end(
            server_id,
            Exit(
                self.now(),
                None if behaviour.out_of_memory else behaviour.exit_status,
                "SIGKILL" if behaviour.out_of_memory else None,
                asked=False,
                save_seen=False,
                out_of_memory=behaviour.out_of_memory,
                lines=self._last_lines(server_id),
            ),
        )

    def _stop(self, server_id: ServerId) -> None:
        machine = self.machines[server_id]
        process = machine.process
        assert process is not None
        if process.phase is Phase.WAITING:
            self._turn(server_id, replace(process, phase=Phase.STOPPED, since=self.now(), next_start_at=None))
            return
        self._turn(server_id, replace(process, phase=Phase.STOPPING, since=self.now()))
        takes = self.behaviours.get(server_id, NORMAL).stop_takes
        if takes == timedelta():
            self._quit(server_id)
        elif takes is None or takes > machine.grace:
            self._after(machine.grace, server_id, self._kill)
        else:
            self._after(takes, server_id, self._quit)

    def _quit(self, server_id: ServerId) -> None:
        saves = self.behaviours.get(server_id, NORMAL).saves
        save_seen = saves if self.machines[server_id].proves_save else None
        self._end(server_id, Exit(self.now(), 0, None, True, save_seen, lines=self._last_lines(server_id)))

    def _kill(self, server_id: ServerId) -> None:
        save_seen = False if self.machines[server_id].proves_save else None
        self._end(server_id, Exit(self.now(), None, "SIGKILL", True, save_seen, lines=self._last_lines(server_id)))

    def _end(self, server_id: ServerId, end: Exit) -> None:
        machine, now = self.machines[server_id], self.now()
        process = machine.process
        assert process is not None
        self._hear(server_id, "ended")
        if end.asked:
            self._turn(server_id, replace(process, phase=Phase.STOPPED, since=now, last_exit=end))
            return
        was_stable = process.phase is Phase.READY and now - process.since >= STABLE_AFTER
        crashes = 1 if was_stable else process.crashes + 1
        next_start_at = now + restart_delay(crashes)
        waiting = replace(
            process, phase=Phase.WAITING, since=now, crashes=crashes, last_exit=end, next_start_at=next_start_at
        )
        self._turn(server_id, waiting)
        self._after(restart_delay(crashes), server_id, self._start_again)

    def _start_again(self, server_id: ServerId) -> None:
        machine = self.machines[server_id]
        assert machine.process is not None
        assert machine.want is not None
        self._start(server_id, machine.want, machine.process.crashes)

    def _last_lines(self, server_id: ServerId) -> tuple[str, ...]:
        return tuple(line.text for line in list(self.consoles.get(server_id, ()))[-20:])

    def _turn(self, server_id: ServerId, process: ProcessSeen, *, keep_timers: bool = False) -> None:
        machine = self.machines[server_id]
        machine.process = process
        machine.turn += 0 if keep_timers else 1
        self._tell(server_id)

    def _after(self, delay: timedelta, server_id: ServerId, action: Callable[[ServerId], None]) -> None:
        due = self.now() + delay
        heapq.heappush(self._timers, (due, next(self._numbers), server_id, self.machines[server_id].turn, action))
        for alarm in self.alarms:
            alarm(due)

    def _hear(self, server_id: ServerId, what: str) -> None:
        if self.on_change is not None:
            self.on_change(server_id, what)

    def _tell(self, server_id: ServerId) -> None:
        for watcher in self.watchers:
            watcher(server_id)
