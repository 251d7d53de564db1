"""The engine port of a ``MemoryWorld``, with faults to inject at the border: errors, lost answers, stale caches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from overworld.domain.games import Protocol
from overworld.domain.observed import Launch, Layout, Observed, Phase, Removal, Usage, Want
from overworld.domain.servers import ServerId
from overworld.domain.worlds import WantedFolder
from overworld.engines.base import Engine, Wake
from overworld.engines.memory.world import MemoryWorld

Fault = Callable[[str, ServerId], Exception | None]
"""Given the name of a call and a server: what the call raises, or None."""


def no_fault(_call: str, _server_id: ServerId) -> Exception | None:
    """Nothing goes wrong."""
    return None


class MemoryEngine(Engine):
    """One look at a ``MemoryWorld``. ``fault`` is asked before every call, ``late_fault`` after its effect (the answer
    was lost); ``wake_through`` may delay, drop, repeat or reorder wakes; ``freeze`` makes the cache stale."""

    def __init__(self, world: MemoryWorld | None = None) -> None:
        self.world = world if world is not None else MemoryWorld()
        self.fault: Fault = no_fault
        self.late_fault: Fault = no_fault
        self.wake_through: Callable[[Wake, ServerId], None] | None = None
        self.is_filling = False
        self.hangs: set[ServerId] = set()
        self._frozen: dict[ServerId, Observed] | None = None
        self._wake: Wake | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, wake: Wake) -> None:
        self._wake = wake
        self.world.watchers.append(self._heard)
        if self.world.clock is None:
            self.world.alarms.append(self._arm)
            self._ring()

    async def close(self) -> None:
        if self._heard in self.world.watchers:
            self.world.watchers.remove(self._heard)
            if self._arm in self.world.alarms:
                self.world.alarms.remove(self._arm)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake = None

    def layout(self, server_id: ServerId, world_generation: int) -> Layout:
        return Layout(f"/memory/{server_id}/world/{world_generation}", f"/memory/{server_id}/config")

    def observed(self, server_id: ServerId) -> Observed:
        if self.is_filling:
            return Observed(server_id, complete=False)
        if self._frozen is not None:
            return self._frozen.get(server_id, Observed(server_id, complete=True))
        return self.world.observe(server_id)

    def server_ids(self) -> Iterable[ServerId]:
        return tuple(self.world.machines if self._frozen is None else self._frozen)

    async def apply(self, want: Want, launch: Launch) -> None:
        await self._go_wrong("apply", want.server_id, self.fault)
        self.world.apply(want, launch)
        await self._go_wrong("apply", want.server_id, self.late_fault)

    async def delete(self, removal: Removal) -> None:
        await self._go_wrong("delete", removal.server_id, self.fault)
        self.world.delete(removal)
        await self._go_wrong("delete", removal.server_id, self.late_fault)

    async def place_world(self, server_id: ServerId, world_generation: int, folder: WantedFolder) -> None:
        await self._go_wrong("place", server_id, self.fault)
        self.world.place_world(server_id, world_generation)
        await self._go_wrong("place", server_id, self.late_fault)

    async def usage(self, server_id: ServerId) -> Usage | None:
        await self._go_wrong("usage", server_id, self.fault)
        machine = self.world.machines.get(server_id)
        if machine is None or machine.process is None or machine.want is None or machine.started_at is None:
            return None
        if machine.process.phase not in {Phase.STARTING, Phase.READY, Phase.STOPPING}:
            return None
        age = (self.world.now() - machine.started_at).total_seconds()
        return Usage(age * 0.01, machine.want.memory_mib / 2, 1.0, None, machine.started_at)

    async def port_is_free(self, protocol: Protocol, port: int) -> bool:
        return (protocol, port) not in self.world.taken_ports

    def freeze(self) -> None:
        """From now on see the world as it is now: a stale cache."""
        self._frozen = {server_id: self.world.observe(server_id) for server_id in self.world.machines}

    def thaw(self) -> None:
        """See the world as it is again, and be told of everything that may have changed meanwhile."""
        before = self._frozen or {}
        self._frozen = None
        for server_id in {*before, *self.world.machines}:
            if before.get(server_id) != self.world.observe(server_id):
                self._heard(server_id)

    async def _go_wrong(self, call: str, server_id: ServerId, fault: Fault) -> None:
        if server_id in self.hangs:
            await asyncio.Event().wait()
        error = fault(call, server_id)
        if error is not None:
            raise error

    def _heard(self, server_id: ServerId) -> None:
        if self._wake is None or self._frozen is not None:
            return
        if self.wake_through is not None:
            self.wake_through(self._wake, server_id)
        else:
            self._wake(server_id)

    def _ring(self) -> None:
        self._timer = None
        self.world.tick()
        due = self.world.next_due()
        if due is not None:
            self._arm(due)

    def _arm(self, due: datetime) -> None:
        if self._timer is not None and self.world.next_due() != due:
            return  # an earlier one is set already
        if self._timer is not None:
            self._timer.cancel()
        delay = max((due - self.world.now()).total_seconds(), 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)
