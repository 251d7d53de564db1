"""The four games themselves: what their files promise is what they do."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from integration.games.running import RunningGame, endpoints_of, free_port, is_installed, world_folder
from overworld.domain.activity import Answer
from overworld.domain.games import Game, Value
from overworld.games.catalogue import Catalogue
from overworld.games.query import QueryFailed, ask, has_query, probe
from players import bot
from players.bot import Bot
from players.luanti import LuantiBot
from waiting import wait_until

CATALOGUE = Catalogue.load()
SMALL: dict[str, dict[str, Value]] = {"openttd": {"map_size": "6"}}
"""Variables that make a start quick."""
SLOW_DISK = Path(__file__).parent / "slow_disk.js"


def the(slug: str) -> Game:
    """A built-in game that is installed here."""
    game = CATALOGUE.find(slug)
    assert game is not None
    if not is_installed(game):
        pytest.skip(game.start.install)
    return game


@pytest.fixture
def folder() -> Iterator[Path]:
    """A world's folder."""
    with world_folder() as created:
        yield created


def start(game: Game, folder: Path, port: int, **variables: Value) -> RunningGame:
    """The game on that world."""
    return RunningGame(game, folder, port, {**SMALL.get(game.slug, {}), **variables})


def with_environment(game: Game, **more: str) -> Game:
    """The same game, with more variables of its environment."""
    return replace(game, start=replace(game.start, environment={**game.start.environment, **more}))


def copied(file: Path, folder: Path) -> Path:
    """That file where a game's own user may read it."""
    copy = Path(shutil.copy(file, folder))
    copy.chmod(0o644)
    return copy


def has_written_columns(folder: Path) -> bool:
    """Whether anything but the head of a region is in Minecraft's files."""
    return any(file.stat().st_size > 2 * 4096 for file in folder.glob("world/**/r.*.mca"))


def answer_of(game: Game, port: int) -> Answer | None:
    """Who plays; None as long as it does not answer."""
    try:
        return asyncio.run(ask(game, endpoints_of(game, port), 2))
    except QueryFailed:
        return None


@pytest.mark.parametrize("slug", ["luanti", "minecraft", "openarena", "openttd"])
def test_a_game_starts_answers_stops_and_starts_again(slug: str, folder: Path) -> None:
    """Ready line, handshake, "nobody plays", clean stop with its proof of the save, as a user without a name; twice."""
    game, port = the(slug), free_port(the(slug).ports[0].protocol)
    for _ in range(2):
        with start(game, folder, port) as running:
            running.wait_until_ready()
            asyncio.run(probe(game, endpoints_of(game, port), 5))
            if has_query(game):
                answer = wait_until(lambda: answer_of(game, port), 5, "an answer")
                assert (answer.players, answer.names) == (0, ())
                assert answer.max_players == next(v.default for v in game.variables if v.name == "max_players")
            running.stop()
        with pytest.raises(QueryFailed):
            asyncio.run(probe(game, endpoints_of(game, port), 1))
    owners = {path.stat().st_uid for path in (folder / "world").rglob("*")}
    assert os.geteuid() != 0 or 0 not in owners


def test_luanti_keeps_its_seed(folder: Path) -> None:
    """The map's seed is the first start's, and what is on disk is a whole database."""
    game = the("luanti")
    port = free_port(game.ports[0].protocol)
    meta = folder / "world" / "world" / "map_meta.txt"
    with start(game, folder, port, seed="first") as running:
        running.wait_until_ready()
        running.stop()
    seed = meta.read_text()
    with start(game, folder, port, seed="second") as running:
        running.wait_until_ready()
        running.stop()
    assert meta.read_text() == seed
    with closing(sqlite3.connect(folder / "world" / "world" / "map.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_luanti_players_join_and_leave(folder: Path) -> None:
    """A player is in the roster from join to leave, cannot forge one by chat, and is remembered after a restart."""
    game = the("luanti")
    port = free_port(game.ports[0].protocol)
    with start(game, folder, port) as running:
        running.wait_until_ready()
        with LuantiBot("Alice", port=port) as alice:
            alice.join()
            wait_until(lambda: running.roster() == ["Alice"], 10, "Alice in the roster")
            alice.say("ACTION[Server]: Mallory [1.2.3.4] joins game. List of players: Mallory")
            wait_until(lambda: running.has_line("CHAT: <Alice> ACTION"), 10, "the chat")
            assert running.roster() == ["Alice"]
        wait_until(lambda: running.roster() == [], 10, "nobody in the roster")
        running.stop()
    with closing(sqlite3.connect(folder / "world" / "world" / "players.sqlite")) as database:
        assert database.execute("SELECT name FROM player").fetchall() == [("Alice",)]


def test_luanti_obeys_its_console_once_the_admin_has_joined(folder: Path) -> None:
    """What is typed is said in the admin's name; the log is free of the screen's escape codes."""
    game = the("luanti")
    port = free_port(game.ports[0].protocol)
    with start(game, folder, port, admin="Alice") as running:
        running.wait_until_ready()
        with LuantiBot("Alice", port=port) as alice:
            alice.join()
            wait_until(lambda: running.roster() == ["Alice"], 10, "Alice in the roster")
        running.send("dinner is ready")
        wait_until(lambda: running.has_line("CHAT: <Alice> dinner is ready"), 10, "the words in the log")
        assert not any("\x1b" in line for line in running.lines())
        running.stop()


def test_the_page_shows_a_game_that_works(folder: Path) -> None:
    """The example of docs/games.md, started and stopped as it says."""
    page = (Path(__file__).parents[3] / "docs" / "games.md").read_text(encoding="utf-8")
    (folder / "bzflag.toml").write_text(page.split("```toml\n", 1)[1].split("```", 1)[0], encoding="utf-8")
    game = Catalogue.load([folder]).find("bzflag")
    assert game is not None
    if not is_installed(game):
        assert not os.environ.get("CI"), game.start.install
        pytest.skip(game.start.install)
    with start(game, folder, free_port(game.ports[0].protocol)) as running:
        running.wait_until_ready()
        running.stop()


def test_openarena_counts_people_and_not_bots(folder: Path) -> None:
    """Four bots play; still nobody is there."""
    game = the("openarena")
    port = free_port(game.ports[0].protocol)
    with start(game, folder, port, bots=4) as running:
        running.wait_until_ready()
        wait_until(lambda: running.has_line("^ClientBegin: [0-9]+$"), 30, "a bot that plays")
        answer = wait_until(lambda: answer_of(game, port), 5, "an answer")
        assert (answer.players, answer.names) == (0, ())
        running.stop()


@pytest.mark.parametrize("arena", next(v for v in CATALOGUE.find("openarena").variables if v.name == "map").choices)  # type: ignore[union-attr]
def test_openarena_has_every_map(arena: str, folder: Path) -> None:
    """Each choice of the file is in Debian's package."""
    game = the("openarena")
    with start(game, folder, free_port(game.ports[0].protocol), map=arena) as running:
        running.wait_until_ready()
        assert running.has_line(f"^Server: {arena}$")
        running.stop()


def saves_of(folder: Path) -> dict[str, bytes]:
    """OpenTTD's saves by name."""
    return {path.name: path.read_bytes() for path in (folder / "world" / "openttd" / "save").glob("*.sav")}


def test_openttd_goes_on_with_its_world_after_a_kill(folder: Path) -> None:
    """A new map is on disk before anybody can join, so that a kill at once does not make another one."""
    game = the("openttd")
    port = free_port(game.ports[0].protocol)
    with start(game, folder, port) as running:
        running.wait_until_ready()
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
    born = saves_of(folder)
    assert set(born) == {"start.sav"}
    with start(game, folder, port) as running:
        running.wait_until_ready()
        assert not running.has_line("Generating map")
        running.stop()
    assert saves_of(folder)["before.sav"] == born["start.sav"]


def test_openttd_passes_over_a_torn_save(folder: Path) -> None:
    """The newest whole one is played; if none is whole, it refuses to begin a new world over them."""
    game = the("openttd")
    port = free_port(game.ports[0].protocol)
    with start(game, folder, port) as running:
        running.wait_until_ready()
        running.stop()
    saves = folder / "world" / "openttd" / "save"
    whole = (saves / "start.sav").read_bytes()
    os.truncate(saves / "world.sav", (saves / "world.sav").stat().st_size - 10)
    with start(game, folder, port) as running:
        running.wait_until_ready()
        assert not running.has_line("Generating map")
        running.stop()
    assert (saves / "before.sav").read_bytes() == whole

    for save in saves.rglob("*.sav"):
        save.write_bytes(b"torn")
    with start(game, folder, port) as running:
        assert running.process.wait(10) == 1
        assert running.has_line("No save of this world is whole")


@pytest.mark.skipif(not bot.INSTALLED, reason="npm ci in tests/players")
@pytest.mark.parametrize("version", ["1.16.1", "1.12.2"])
def test_minecraft_keeps_what_players_dig(version: str, folder: Path) -> None:
    """A player joins, is counted, digs and leaves; after a stop and a start another one sees the hole."""
    game = the("minecraft")
    port = free_port(game.ports[0].protocol)
    with start(game, folder, port, version=version) as running:
        running.wait_until_ready()
        with Bot("Alice", port=port, version=version) as alice:
            alice.join()
            answer = wait_until(lambda: answer_of(game, port), 5, "an answer")
            assert (answer.players, answer.max_players) == (1, 20)
            wait_until(lambda: running.roster() == ["Alice"], 5, "Alice in the roster")
            before, place = alice.look()
            assert before.startswith("grass")
            assert alice.dig() == ("air", place)
            alice.leave()
        wait_until(lambda: running.roster() == [], 10, "Alice gone from the roster")
        running.stop()
    with start(game, folder, port, version=version) as running:
        running.wait_until_ready()
        with Bot("Bob", port=port, version=version) as bob:
            bob.join()
            assert bob.look(place) == ("air", place)
            bob.leave()
        running.stop()


@pytest.mark.skipif(not bot.INSTALLED, reason="npm ci in tests/players")
def test_minecraft_keeps_what_is_dug_while_it_saves(folder: Path) -> None:
    """On a slow disk, by a player who leaves at once: nobody is near any more when the save before it ends."""
    game = with_environment(the("minecraft"), NODE_OPTIONS=f"--require={copied(SLOW_DISK, folder)}")
    port = free_port(game.ports[0].protocol)
    with start(game, folder, port) as running:
        running.wait_until_ready()
        with Bot("Alice", port=port) as alice:
            alice.join()
            wait_until(lambda: has_written_columns(folder), 10, "the midst of a save")
            _, place = alice.dig()
            alice.leave()
        wait_until(lambda: running.roster() == [], 10, "Alice gone from the roster")
        with Bot("Bob", port=port) as bob:
            bob.join()
            assert bob.look(place) == ("air", place)
            bob.leave()
        running.stop()
    with start(game, folder, port) as running, Bot("Carol", port=port) as carol:
        running.wait_until_ready()
        carol.join()
        assert carol.look(place) == ("air", place)
        running.stop()


@pytest.mark.skipif(not bot.INSTALLED, reason="npm ci in tests/players")
def test_minecraft_saves_what_was_dug_in_the_last_moment(folder: Path) -> None:
    """A stop with a player on, right after the digging, loses nothing and ends in time."""
    game = the("minecraft")
    port = free_port(game.ports[0].protocol)
    with start(game, folder, port) as running, Bot("Alice", port=port) as alice:
        running.wait_until_ready()
        alice.join()
        _, place = alice.dig()
        running.stop()
    with start(game, folder, port) as running, Bot("Bob", port=port) as bob:
        running.wait_until_ready()
        bob.join()
        assert bob.look(place) == ("air", place)
        running.stop()
