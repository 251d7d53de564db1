"""The engine of one machine: every server is a keeper and its game, found again by the folders that they leave."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog

from overworld.domain.errors import EngineError, EngineRefused, EngineUnavailable
from overworld.domain.games import Protocol
from overworld.domain.observed import Launch, Layout, Observed, Phase, Removal, Usage, Want
from overworld.domain.servers import ServerId
from overworld.engines import keeper
from overworld.engines.base import Engine, Wake
from overworld.engines.local.cgroups import Cgroups, find_cgroups
from overworld.engines.local.checks import can_listen, check_disk, check_ports, check_reachable, engine_errors
from overworld.engines.local.folders import Folders, keeper_lock
from overworld.engines.local.launches import render_keeper_launch
from overworld.engines.local.link import KeeperLink
from overworld.engines.local.seen import KeeperState, read_keeper_state
from overworld.engines.local.spawn import start_keeper, start_recovery
from overworld.engines.local.usage import DiskUsage, measure_processes
from overworld.engines.local.users import Users

T = TypeVar("T")

THREADS = 8
RECOVERY_PAUSE_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Record:
    """What is known of one server. ``link`` is open as long as its keeper lives.

    ``output`` is the reading end of the game's standard output. Only keepers read it; it is held here so that the
    last words of a game whose keeper was killed are kept until ``recover`` reads them.
    """

    exists: bool = False
    worlds: frozenset[int] = field(default_factory=frozenset)
    state: KeeperState | None = None
    link: KeeperLink | None = None
    output: int | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_active(self) -> bool:
        return self.state is not None and self.state.process.phase is not Phase.STOPPED

    def hold_output(self, run: Path) -> None:
        if self.output is None:
            with suppress(OSError):
                self.output = os.open(run / "output", os.O_RDONLY | os.O_NONBLOCK)

    def release_output(self) -> None:
        if self.output is not None:
            os.close(self.output)
            self.output = None


class LocalEngine(Engine):
    """Runs servers as processes of this machine, below ``folder`` (the data folder's ``servers``).

    One instance at a time is the rule (the controller's lease); two at once do no harm, because locks in the run
    folders decide, but each learns of the other's starts only when it applies to the same server.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = Folders(folder.absolute())
        self._users = Users(folder.absolute())
        self._records: dict[ServerId, _Record] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="engine")
        self._wake: Wake = lambda _: None
        self._is_complete = False
        self._is_closed = False
        self._cgroups = Cgroups()
        self._disk = DiskUsage()
        # Two installations on one machine must not share cgroups.
        self._name = hashlib.sha256(os.fsencode(self._folders.root)).hexdigest()[:8]

    async def start(self, wake: Wake) -> None:
        self._wake = wake
        with engine_errors("looking at the servers"):
            self._cgroups = await self._in_thread(find_cgroups)
            self._records = await self._in_thread(self._scan)
        active = [(server_id, record) for server_id, record in self._records.items() if record.is_active()]
        await asyncio.gather(*(self._settle_at_start(server_id, record) for server_id, record in active))
        self._is_complete = True

    async def close(self) -> None:
        self._is_closed = True
        self._wake = lambda _: None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for record in self._records.values():
            if record.link is not None:
                record.link.close()
                record.link = None
            record.release_output()
        self._disk.close()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    def layout(self, server_id: ServerId, world_generation: int) -> Layout:
        return self._folders.layout(server_id, world_generation)

    def observed(self, server_id: ServerId) -> Observed:
        record = self._records.get(server_id)
        if record is None:
            return Observed(server_id, complete=self._is_complete)
        return Observed(
            server_id,
            complete=self._is_complete,
            process=record.state.process if record.state is not None else None,
            worlds=record.worlds,
            exists=record.exists,
        )

    def server_ids(self) -> Iterable[ServerId]:
        return [server_id for server_id, record in self._records.items() if record.exists]

    async def apply(self, want: Want, launch: Launch) -> None:
        record = self._record(want.server_id)
        async with record.lock:
            with engine_errors(f"preparing server {want.server_id}"):
                await self._apply(record, want, launch)

    async def delete(self, removal: Removal) -> None:
        record = self._record(removal.server_id)
        async with record.lock:
            with engine_errors(f"removing files of server {removal.server_id}"):
                await self._delete(record, removal)

    async def usage(self, server_id: ServerId) -> Usage | None:
        record = self._records.get(server_id)
        if record is None or record.link is None or record.state is None:
            return None
        asked = await record.link.usage()
        if not asked["pid"]:
            return None
        world = self._folders.world(server_id, record.state.world_generation)
        with engine_errors(f"measuring server {server_id}"):
            cpu_seconds, memory_mib = await self._in_thread(lambda: measure_processes(asked["pid"]))
            disk_mib = await self._in_thread(lambda: self._disk.measure(world))
        return Usage(
            cpu_seconds=cpu_seconds,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            roster=None if asked["roster"] is None else tuple(asked["roster"]),
            process_started_at=datetime.fromtimestamp(asked["started_at"], UTC),
        )

    async def port_is_free(self, protocol: Protocol, port: int) -> bool:
        with engine_errors(f"trying port {port}/{protocol}"):
            return can_listen(protocol, port)

    # --- apply and delete

    async def _apply(self, record: _Record, want: Want, launch: Launch) -> None:
        await self._settle(want.server_id, record)
        if record.is_active():
            self._stop_if_unwanted(record, want)
            return
        if want.world_generation < 1:
            return  # asked only to stop, by somebody who knows no more of it
        worlds = await self._in_thread(lambda: self._prepare(want, launch))
        if not record.exists or record.worlds != worlds:
            record.exists, record.worlds = True, worlds
            self._wake(want.server_id)
        if not want.running:
            return
        status = await self._in_thread(lambda: self._start(want, launch))
        if status == keeper.WORLD_IN_USE:
            raise EngineRefused(
                "WorldInUse",
                "A process of this server still runs and holds its world, and its keeper is gone. The server is "
                "started again as soon as that process has ended; end it by hand if it hangs.",
            )
        # Started by us, or by another engine at the same time, or somebody's leftover comes first.
        await self._settle(want.server_id, record)
        if record.is_active():
            self._stop_if_unwanted(record, want)
        elif status == 0:
            raise EngineUnavailable(f"the keeper of server {want.server_id} ended as soon as it had begun")

    def _stop_if_unwanted(self, record: _Record, want: Want) -> None:
        assert record.state is not None
        seen = record.state.process
        # The next start after a crash is one at which an edit takes effect, so it is not waited for.
        is_outdated = seen.restarts != want.restarts or (
            seen.phase is Phase.WAITING and seen.spec_hash != want.spec_hash
        )
        if (not want.running or is_outdated) and record.link is not None:
            record.link.stop()

    def _prepare(self, want: Want, launch: Launch) -> frozenset[int]:
        if not want.may_make_world:
            self._folders.check_world(want.server_id, want.world_generation)
        if want.running:
            self._folders.root.mkdir(parents=True, exist_ok=True)
            check_disk(self._folders.root)
        user = self._users.of(want.number)
        self._folders.prepare(want.server_id, want.world_generation, user, launch.files)
        return self._folders.world_generations(want.server_id)

    def _start(self, want: Want, launch: Launch) -> int:
        user = self._users.of(want.number)
        check_reachable(self._folders.root, user)
        cgroups = self._cgroups.of_server(f"overworld-{self._name}-{want.server_id}", want.memory_mib)
        layout = self._folders.layout(want.server_id, want.world_generation)
        rendered = render_keeper_launch(want, launch, layout, user, cgroups)
        check_ports(want.endpoints)
        return start_keeper(self._folders.run(want.server_id), rendered)

    async def _delete(self, record: _Record, removal: Removal) -> None:
        server_id, generation = removal.server_id, removal.world_generation
        await self._settle(server_id, record)
        if record.is_active() and record.state is not None and generation in {None, record.state.world_generation}:
            raise EngineUnavailable(f"server {server_id} still runs on what is to be removed")
        await self._in_thread(lambda: self._remove(server_id, generation))
        seen = await self._in_thread(lambda: self._look(server_id))
        record.exists, record.worlds = seen.exists, seen.worlds
        if record.link is None:
            record.state = seen.state
        if not record.exists:
            self._records.pop(server_id, None)
        self._wake(server_id)

    def _remove(self, server_id: ServerId, generation: int | None) -> None:
        with keeper_lock(self._folders.run(server_id), needed=generation is None):
            if generation is not None:
                self._folders.remove_world(server_id, generation)
                self._disk.forget(self._folders.world(server_id, generation))
            else:
                self._folders.remove_rest(server_id)

    # --- finding out what is

    def _scan(self) -> dict[ServerId, _Record]:
        return {server_id: self._look(server_id) for server_id in self._folders.server_ids()}

    def _look(self, server_id: ServerId) -> _Record:
        """What the folder of a server says, whether or not a keeper lives."""
        return _Record(
            exists=self._folders.server(server_id).exists(),
            worlds=self._folders.world_generations(server_id),
            state=read_keeper_state(self._folders.run(server_id)),
        )

    async def _settle_at_start(self, server_id: ServerId, record: _Record) -> None:
        try:
            async with record.lock:
                with engine_errors(f"finding server {server_id}"):
                    await self._settle(server_id, record)
        except EngineError as error:
            log.warning("a keeper cannot be reached", server=server_id, error=error.detail)
            self._in_background(self._recover(server_id, record))

    async def _settle(self, server_id: ServerId, record: _Record) -> None:
        """Find out what runs: be linked to a living keeper, or know that there is none and that nothing is left."""
        run = self._folders.run(server_id)
        for pause in RECOVERY_PAUSE_SECONDS:
            if record.link is not None or await self._attach(server_id, record, run):
                return
            before = record.state
            record.state = await self._in_thread(lambda: read_keeper_state(run))
            if not record.is_active():
                record.release_output()
                if record.state != before:
                    self._wake(server_id)
                return
            self._say_stopping(server_id, record)
            await self._in_thread(lambda: start_recovery(run))
            if await self._attach(server_id, record, run):
                return
            await asyncio.sleep(pause)
        raise EngineUnavailable(f"the keeper of server {server_id} neither answers nor has ended")

    async def _attach(self, server_id: ServerId, record: _Record, run: Path) -> bool:
        def on_state(state: KeeperState) -> None:
            self._on_state(server_id, record, state)

        def on_lost(link: KeeperLink) -> None:
            if record.link is link:
                record.link = None
                if not self._is_closed:
                    self._in_background(self._recover(server_id, record))

        opened = await KeeperLink.open(run, on_state, on_lost)
        if opened is None:
            return False
        record.link, state = opened
        record.exists = True
        record.hold_output(run)
        self._on_state(server_id, record, state)
        return True

    def _on_state(self, server_id: ServerId, record: _Record, state: KeeperState) -> None:
        if state.process.phase is Phase.STOPPED:
            return  # true only when the keeper has let go of everything: then it closes the connection
        has_changed = record.state is None or record.state.process != state.process
        record.state = state
        if has_changed:
            self._wake(server_id)

    def _say_stopping(self, server_id: ServerId, record: _Record) -> None:
        """Its keeper was killed: the kernel has asked the game to stop, and it is waited for."""
        assert record.state is not None
        if record.state.process.phase is not Phase.STOPPING:
            process = replace(record.state.process, phase=Phase.STOPPING, since=datetime.now(UTC), next_start_at=None)
            record.state = replace(record.state, process=process)
            self._wake(server_id)

    async def _recover(self, server_id: ServerId, record: _Record) -> None:
        """A keeper closed its connection: because it ended, or because it was killed."""
        pause_seconds = 0.1
        while True:
            try:
                async with record.lock:
                    with engine_errors(f"recovering server {server_id}"):
                        await self._settle(server_id, record)
                return
            except EngineError as error:
                log.warning("a server cannot be recovered yet", server=server_id, error=error.detail)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 30.0)

    # --- small things

    def _record(self, server_id: ServerId) -> _Record:
        self._folders.server(server_id)  # refuses a bad name before anything is remembered under it
        return self._records.setdefault(server_id, _Record())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise EngineUnavailable("the engine is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
