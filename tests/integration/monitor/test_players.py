"""Real games: what the monitor writes is who really plays."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from installation import free_port
from integration.monitor.rows import make_account, make_server, see, want
from integration.monitor.test_role import DEADLINE_SECONDS, activity_of, monitoring, row_where, usage_of
from overworld.domain.activity import Presence
from overworld.domain.games import Value
from overworld.domain.observed import Phase
from overworld.domain.servers import Endpoint, Server
from overworld.domain.state import State
from overworld.engines.local.engine import LocalEngine
from overworld.games.catalogue import Catalogue
from overworld.games.launch import render_launch
from overworld.games.variables import check_variables
from overworld.settings import Settings
from overworld.store.database import Database
from players import bot
from players.bot import Bot
from waiting import eventually

START_SECONDS = 60.0
SETTINGS = Settings(engine="local", monitor_interval=timedelta(seconds=2))  # OpenArena answers no more often

needs_openarena = pytest.mark.skipif(
    not Path("/usr/games/openarena-server").exists(), reason="apt-get install openarena-server"
)
needs_luanti = pytest.mark.skipif(
    not Path("/usr/lib/minetest/minetestserver").exists(), reason="apt-get install minetest-server"
)
needs_players = pytest.mark.skipif(not bot.INSTALLED, reason="npm ci in tests/players installs the players")


@dataclass(frozen=True, slots=True)
class RunningGame:
    """A game that is ready, and its row."""

    engine: LocalEngine
    server: Server
    port: int
    folder: Path

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """All its processes stand still, as in a deadlock."""
        processes = [process for process in psutil.process_iter() if self._is_ours(process)]
        assert processes
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return "/world/" in process.cwd() and process.cwd().startswith(str(self.folder))
        except (psutil.Error, OSError):  # OSError: a folder of somebody else's with too long a name
            return False


def make_folder() -> Path:
    """A folder that each game's own user gets through, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="monitor-"))
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def running(database: Database, slug: str, variables: dict[str, object]) -> AsyncIterator[RunningGame]:
    """A real game under the local engine; nothing is left of it afterwards."""
    game = Catalogue.load().find(slug)
    assert game is not None
    folder = make_folder()
    engine = LocalEngine(folder / "servers")
    values: dict[str, Value] = check_variables(game, variables)
    server = replace(make_server(database, make_account(database), slug, game=slug), variables=values)
    port = free_port()
    endpoints = tuple(Endpoint(needed.name, needed.protocol, "127.0.0.1", port) for needed in game.ports)
    layout = engine.layout(server.id, server.world_generation)
    launch = render_launch(game, server, layout, endpoints, programs_folder=bot.FOLDER)
    await engine.start(lambda _: None)

    def is_in(phase: Phase) -> bool:
        process = engine.observed(server.id).process
        return process is not None and process.phase is phase

    try:
        await engine.apply(replace(want(server, running=True), endpoints=endpoints), launch)
        await eventually(lambda: is_in(Phase.READY), START_SECONDS, f"{slug} is ready")
        see(database, server, State.RUNNING, endpoints)
        yield RunningGame(engine, server, port, folder)
    finally:
        await engine.apply(replace(want(server, running=False), endpoints=endpoints), launch)
        await eventually(lambda: is_in(Phase.STOPPED), START_SECONDS, f"{slug} has stopped")
        await engine.close()
        shutil.rmtree(folder)


@needs_openarena
async def test_a_frozen_game_is_unknown_and_never_empty(database: Database) -> None:
    """OpenArena answers: nobody. Frozen it is unknown; thawed it is idle again; its time ran all along."""
    async with running(database, "openarena", {}) as game, monitoring(database, game.engine, SETTINGS):
        row = await eventually(
            row_where(database, game.server, lambda row: row.presence is Presence.IDLE), DEADLINE_SECONDS, "it is idle"
        )
        assert (row.players, row.max_players) == (0, 12)
        with game.frozen():
            frozen = await eventually(
                row_where(database, game.server, lambda row: row.presence is Presence.UNKNOWN),
                DEADLINE_SECONDS,
                "it is unknown",
            )
            counted = usage_of(database, game.server).running_seconds
            await eventually(
                lambda: usage_of(database, game.server).running_seconds >= counted + 2, DEADLINE_SECONDS, "time runs"
            )
            still = activity_of(database, game.server)
        assert (frozen.players, frozen.memory_mib is not None) == (None, True)
        assert still is not None
        assert (still.presence, still.players) == (Presence.UNKNOWN, None)
        await eventually(
            row_where(database, game.server, lambda row: row.presence is Presence.IDLE), DEADLINE_SECONDS, "it is back"
        )
    assert usage_of(database, game.server).played_seconds == 0


@needs_luanti
async def test_a_game_without_answers_is_read_by_its_output(database: Database) -> None:
    """Luanti cannot be asked who plays: an empty roster makes it idle, with its memory and disk on the row."""
    async with running(database, "luanti", {}) as game, monitoring(database, game.engine, SETTINGS):
        row = await eventually(
            row_where(database, game.server, lambda row: row.presence is Presence.IDLE and row.cpu_percent is not None),
            DEADLINE_SECONDS,
            "it is idle",
        )
    assert row.players == 0
    assert row.memory_mib is not None
    assert row.memory_mib > 10
    assert row.disk_mib is not None
    assert row.disk_mib > 0


@needs_players
async def test_players_who_really_join(database: Database) -> None:
    """Two bots join: count and names are on the row; they leave: idle. Played time is theirs alone."""
    async with running(database, "minecraft", {}) as game, monitoring(database, game.engine, SETTINGS):
        await eventually(
            row_where(database, game.server, lambda row: row.presence is Presence.IDLE), DEADLINE_SECONDS, "it is idle"
        )
        async with playing(game.port, "ann"), playing(game.port, "bob"):
            row = await eventually(
                row_where(database, game.server, lambda row: set(row.names) == {"ann", "bob"}),
                DEADLINE_SECONDS,
                "both are seen",
            )
            assert (row.presence, row.players) == (Presence.ACTIVE, 2)
            assert row.join_seen_at is not None
            assert row.last_active_at == row.seen_at
            await eventually(
                lambda: usage_of(database, game.server).played_seconds >= 2, DEADLINE_SECONDS, "two seconds are played"
            )
        gone = await eventually(
            row_where(database, game.server, lambda row: row.presence is Presence.IDLE), DEADLINE_SECONDS, "they left"
        )
        assert (gone.players, gone.names) == (0, ())
        assert gone.last_active_at is not None
    used = usage_of(database, game.server)
    assert 2 <= used.played_seconds < used.running_seconds


@asynccontextmanager
async def playing(port: int, name: str) -> AsyncIterator[None]:
    """A player of that name is in the game for as long as the block lasts, and leaves as a person does."""
    with Bot(name, port=port) as player:
        await asyncio.to_thread(player.join)
        yield
        await asyncio.to_thread(player.leave)
