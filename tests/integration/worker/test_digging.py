"""Worlds that are played in while they are saved, again and again: what came before the proof is in the save, what came
after it is not, and every save boots."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from installation import Installation, json_of
from integration.worker.saving import (
    create,
    needs_luanti,
    needs_players,
    needs_restic,
    newest_world,
    quick_check,
    rows_of,
    save,
    saving_installation,
    show,
    succeed,
    until_state,
    worlds,
)
from players.bot import Bot, Place
from players.luanti import LuantiBot
from waiting import wait_until

pytestmark = needs_restic

IS_LONG = bool(os.environ.get("OVERWORLD_SOAK"))
SAVES = 40 if IS_LONG else 5
DIGGERS = ("Ada", "Ben")
FIELD = 6
"""Places along each side of a digger's field, 5 blocks apart: over several columns of several region files."""
PROOF = "Saved the game"
DATABASES = ("map.sqlite", "players.sqlite", "auth.sqlite")


@dataclass
class Reader:
    """Everything that a game prints, in order; a context manager that reads on in a thread of its own."""

    api: httpx.Client
    server_id: str
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep_reading, daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _keep_reading(self) -> None:
        after: dict[str, str] = {}
        while not self._is_over.wait(0.2):
            path = f"/servers/{self.server_id}/console"
            found = json_of(self.api.get(path, params={"limit": "1000", **after}))["lines"]
            self.lines += [line["text"] for line in found]
            after = {"after": found[-1]["id"]} if found else after

    def proofs(self) -> list[int]:
        """Where the lines are by which the game said that all is written."""
        return [number for number, line in enumerate(self.lines) if line == PROOF]


@dataclass(frozen=True)
class Digging:
    """One digger's changes, and where the output says that each began and was done."""

    changes: list[tuple[Place, str]]
    begun: dict[int, int]
    done: dict[int, int]

    def allowed_at(self, line: int, before: dict[Place, str]) -> dict[Place, set[str]]:
        """What may be at each place in a world whose game printed that line: one thing, but for the change that was
        being made then."""
        allowed = {place: {block} for place, block in before.items()}
        for number, (place, block) in enumerate(self.changes):
            if self.done[number] < line:
                allowed[place] = {block}
            elif self.begun[number] < line:
                allowed[place] |= {block}
        return allowed


def digging_of(name: str, changes: list[tuple[Place, str]], lines: list[str]) -> Digging:
    """The same as the output tells it."""
    found: dict[str, dict[int, int]] = {"begin": {}, "done": {}}
    for number, line in enumerate(lines):
        if said := re.search(rf"issued command: /(begin|done)-{name}-(\d+)$", line):
            found[said[1]][int(said[2])] = number
    missing = [number for number in range(len(changes)) if number not in found["done"]]
    assert not missing, f"the output says nothing of {missing} of {len(changes)} changes"
    return Digging(changes, found["begin"], found["done"])


def field_around(place: Place, shift: int) -> list[Place]:
    """The places of one digger; another shift is another field."""
    x, y, z = place
    steps = range(-5 * FIELD // 2, 5 * FIELD // 2, 5)
    return [(x + step + shift, y, z + other) for step in steps for other in steps]


@contextmanager
def cloned(api: httpx.Client, save_id: str) -> Iterator[str]:
    """A server made of that save, not started, and removed at the end; its id."""
    made = succeed(api, api.post(f"/saves/{save_id}/clone", json={"name": f"c-{os.urandom(4).hex()}"}))
    server_id = str(made["server_id"])
    try:
        yield server_id
    finally:
        assert api.delete(f"/servers/{server_id}", params={"retention_seconds": 0}).status_code == 202


def start(api: httpx.Client, server_id: str) -> int:
    """It runs; the port on which players join."""
    succeed(api, api.post(f"/servers/{server_id}/start"))
    return int(until_state(api, server_id, "running")["endpoints"][0]["port"])


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An Overworld that keeps every save."""
    with saving_installation(save_keep="last=100") as it:
        yield it


@needs_players
@pytest.mark.timeout(3600 if IS_LONG else 240)
def test_every_save_of_a_minecraft_that_is_dug_in_has_each_block_as_it_was_when_the_proof_came(
    installation: Installation,
) -> None:
    """Two players dig and build without a pause while it is saved; each save is made a server of its own, where another
    player finds what the first two had done before the proof, and nothing that they did after it."""
    with installation.api() as api, ExitStack() as players:
        server_id = create(api, "minecraft")
        port = show(api, server_id)["endpoints"][0]["port"]
        diggers = {name: players.enter_context(Bot(name, port=port)) for name in DIGGERS}
        for digger in diggers.values():
            digger.join()
        _, feet = diggers[DIGGERS[0]].look()
        fields = {name: field_around(feet, shift) for shift, name in enumerate(diggers, start=1)}
        every_place = [place for each in fields.values() for place in each]
        before = dict(zip(every_place, diggers[DIGGERS[0]].look_at_all(every_place), strict=True))
        with Reader(api, server_id) as reader:
            for name, digger in diggers.items():
                digger.work(fields[name])
            taken = []
            for number in range(1, SAVES + 1):
                taken.append(save(api, server_id))
                assert taken[-1]["quiet"] == "quieted", taken[-1]
                wait_until(lambda: len(reader.proofs()) == number, 20, "the proof is read")  # noqa: B023
            made = {name: digger.rest() for name, digger in diggers.items()}
            last = [f"/done-{name}-{len(changes) - 1}" for name, changes in made.items()]
            wait_until(lambda: all(any(w in line for line in reader.lines) for w in last), 20, "all is read")
        succeed(api, api.post(f"/servers/{server_id}/stop"))

        digging = {name: digging_of(name, changes, reader.lines) for name, changes in made.items()}
        for save_row, line in zip(taken, reader.proofs(), strict=True):
            allowed: dict[Place, set[str]] = {}
            for name, each in digging.items():
                allowed |= each.allowed_at(line, {place: before[place] for place in fields[name]})
            open_places = [place for place, blocks in allowed.items() if len(blocks) > 1]
            assert len(open_places) <= len(diggers), "a change is made alone"
            with cloned(api, save_row["id"]) as copy_id, Bot("Cal", port=start(api, copy_id)) as visitor:
                visitor.join()
                seen = dict(zip(every_place, visitor.look_at_all(every_place), strict=True))
            wrong = {place: (seen[place], blocks) for place, blocks in allowed.items() if seen[place] not in blocks}
            assert not wrong, f"save {save_row['id']}: {wrong}"
        changed_between = [
            sum(first < at < last for each in digging.values() for at in each.done.values())
            for first, last in zip(reader.proofs(), reader.proofs()[1:], strict=False)
        ]
        assert all(changed_between), "the players never paused"


@needs_luanti
@pytest.mark.timeout(3600 if IS_LONG else 180)
def test_every_save_of_a_luanti_that_is_played_in_boots_with_whole_databases(
    installation: Installation, tmp_path: Path
) -> None:
    """Players join while it is saved; of each save a server of its own is made, whose databases are whole and know all
    land that was written and everybody who had registered before; and it runs."""
    with installation.api() as api, ExitStack() as players:
        server_id = create(api, "luanti")
        port = show(api, server_id)["endpoints"][0]["port"]
        played = worlds(installation, server_id)[1] / "world"
        first = players.enter_context(LuantiBot("first", port=port))
        first.join()

        def land_is_written() -> int:
            first.look_around()
            return count_blocks(played / "map.sqlite")

        wait_until(land_is_written, 30, "land is written")
        taken = []
        for number in range(SAVES):
            written = count_blocks(played / "map.sqlite")
            players.enter_context(LuantiBot(f"player{number}", port=port)).join()
            taken.append((save(api, server_id), written))
            assert taken[-1][0]["quiet"] == "quieted", taken[-1]
        succeed(api, api.post(f"/servers/{server_id}/stop"))
        for number, (save_row, written) in enumerate(taken):
            with cloned(api, save_row["id"]) as copy_id:
                world = newest_world(installation, copy_id) / "world"
                scratch = tmp_path / copy_id
                scratch.mkdir()
                assert [quick_check(world / name, scratch) for name in DATABASES] == ["ok"] * len(DATABASES)
                known = {name for (name,) in rows_of(scratch / "auth.sqlite", "SELECT name FROM auth")}
                assert {"first", *(f"player{each}" for each in range(number + 1))} <= known
                assert count_blocks(scratch / "map.sqlite") >= written
                start(api, copy_id)


def count_blocks(database: Path) -> int:
    """How much land there is in the map."""
    try:
        return int(rows_of(database, "SELECT count(*) FROM blocks")[0][0])
    except sqlite3.OperationalError:  # the game has only just made it, or writes into it
        return 0
