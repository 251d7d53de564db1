"""Recoveries that are interrupted, refused, only tried, or of an installation that still lives."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import postgres
from installation import Installation, folder_for_everybody, json_of
from integration.upkeep.recovering import machine, make_key
from integration.worker.saving import create, events, needs_restic, save, saves, until_ended, until_state, worlds
from overworld.recovery_marker import marker_in
from overworld.saves.recovery_key import new_recovery_key
from overworld.store import schema
from waiting import wait_until

pytestmark = needs_restic

KILLS = 60 if os.environ.get("OVERWORLD_SOAK") else 4
SEED = int(os.environ.get("OVERWORLD_SEED", random.randrange(10**6)))


@dataclass(frozen=True)
class Lost:
    """What is left of an installation: its store, its key, its servers by name."""

    folder: Path
    store: Path
    key: str
    ids: dict[str, str]

    def copy_store(self, name: str) -> str:
        """A store of one's own, as the setting says it."""
        return f"local:{shutil.copytree(self.store, self.folder / name / 'store')}"


@pytest.fixture(scope="module")
def lost() -> Iterator[Lost]:
    """One that had a server that ran, one that was stopped, and one that was never saved."""
    with folder_for_everybody() as folder:
        store = folder / "first" / "store"
        with machine(folder / "first" / "data", save_store=f"local:{store}") as it:
            it.folder.parent.mkdir()
            it.start()
            with it.api() as api:
                ids = {name: create(api, "diary", name=name) for name in ("runs", "stops")}
                for server_id in ids.values():
                    save(api, server_id)
                ids["new"] = create(api, "diary", name="new", start=False)
                until_ended(api, json_of(api.post(f"/servers/{ids['stops']}/stop")))
                wait_until(lambda: saves(api, ids["stops"])[0]["quiet"] == "stopped", 60, "its last save is kept")
            key = make_key(it)
            it.destroy()
            yield Lost(folder, store, key, ids)


def pages(it: Installation, server_id: str) -> set[str]:
    """The numbers on the pages of a diary: one, if it was saved while it held still."""
    (world,) = worlds(it, server_id).values()
    return {path.read_text() for path in world.glob("page-*")}


def failed_save(api: httpx.Client, server_id: str) -> dict[str, Any]:
    """How a save of that server ended that must not be."""
    ended = until_ended(api, json_of(api.post(f"/servers/{server_id}/saves", json={})))
    assert ended["outcome"] == "failed", ended
    return ended


@pytest.mark.timeout(300)
def test_a_recovery_that_is_killed_goes_on(lost: Lost) -> None:
    """Killed at any moments it comes to the same end; until then nothing can be started on what is half there."""
    print(f"OVERWORLD_SEED={SEED}")
    chance = random.Random(SEED)
    refused = 0
    with machine(lost.folder / "killed" / "data", save_store=lost.copy_store("killed")) as it:
        for _ in range(KILLS):
            process = subprocess.Popen(
                [sys.executable, "-m", "overworld", "recover", "--yes"],
                env=it.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                process.communicate(f"{lost.key}\n".encode(), timeout=chance.uniform(1, 9))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            if process.returncode == 0:
                break
            if marker_in(it.folder).exists() and not refused:
                refused += 1
                assert "run `overworld recover` again" in it.overworld("up").stderr
        if process.returncode != 0:
            done = it.overworld("recover", "--yes", typed=f"{lost.key}\n")
            assert done.returncode == 0, done.stderr
        assert not marker_in(it.folder).exists()
        for name in ("runs", "stops"):
            assert len(pages(it, lost.ids[name])) == 1
        it.start()
        with it.api() as api:
            until_state(api, lost.ids["runs"], "running")
            assert [events(api, lost.ids[name]).count("Recovered") for name in ("runs", "stops")] == [1, 1]
            assert save(api, lost.ids["runs"])["state"] == "kept"


def test_a_server_without_a_save_begins_anew_and_one_whose_saves_are_gone_waits(lost: Lost) -> None:
    """Nothing is started on an empty world while somebody may yet bring the right one back; the rest is not held up."""
    with machine(lost.folder / "gone" / "data", save_store=lost.copy_store("gone")) as it:
        shutil.rmtree(it.folder.parent / "store" / lost.ids["runs"])
        done = it.overworld("recover", "--yes", typed=f"{lost.key}\n")
        assert done.returncode == 1
        assert "1 of 3 worlds are not back" in done.stderr
        assert marker_in(it.folder).exists()
        done = it.overworld("recover", "--yes", "--without-failed", typed=f"{lost.key}\n")
        assert done.returncode == 0, done.stderr
        assert "2 of 3 servers are back" in done.stdout
        it.start()
        with it.api() as api:
            assert "RecoveredInPart" in events(api, lost.ids["runs"])
            assert json_of(api.get(f"/servers/{lost.ids['runs']}"))["state"] != "running"
            json_of(api.post(f"/servers/{lost.ids['new']}/start"))
            until_state(api, lost.ids["new"], "running")


@pytest.mark.timeout(300)
def test_a_database_by_url_keeps_everything_from_starting_itself(lost: Lost, postgres_url: str) -> None:
    """It may be that of an installation which nobody has used. Until the recovery has ended nothing starts on it, from
    whatever machine; what was interrupted goes on by what the database remembers."""
    url = postgres.create_database(postgres_url, "template0")
    with machine(lost.folder / "url" / "data", save_store=lost.copy_store("url"), database_url=url) as it:
        schema.upgrade(url)
        aside = it.folder.parent / "aside"
        saves_of = it.folder.parent / "store" / lost.ids["runs"]
        saves_of.rename(aside)
        done = it.overworld("recover", "--yes", typed=f"{lost.key}\n")
        assert "1 of 3 worlds are not back" in done.stderr, done.stderr
        for command in (("up",), ("web",), ("controller",), ("db", "upgrade"), ("recovery", "claim", "--yes")):
            assert "was begun and not ended" in it.overworld(*command).stderr
        aside.rename(saves_of)
        done = it.overworld("recover", "--yes", typed=f"{lost.key}\n")
        assert done.returncode == 0, done.stderr
        assert "Going on with the dump" in done.stderr
        it.start()
        with it.api() as api:
            until_state(api, lost.ids["runs"], "running")
        it.environment["OVERWORLD_DATA_FOLDER"] = str(it.folder.parent / "other")
        assert "Overworld runs on this database" in it.overworld("recover", "--yes", typed=f"{lost.key}\n").stderr
        it.destroy()
        assert "an installation here already" in it.overworld("recover", "--yes", typed=f"{lost.key}\n").stderr
    postgres.drop_database(url, postgres_url)


def test_an_installation_that_still_lives_writes_nothing_after_a_recovery(lost: Lost) -> None:
    """The old one is fenced off as soon as it looks, says so, and comes back only when its operator says so."""
    store = lost.copy_store("fenced")
    with (
        machine(lost.folder / "fenced" / "old", save_store=store) as old,
        machine(lost.folder / "fenced" / "new", save_store=store, port_range="31500-31599") as new,
    ):
        assert old.overworld("recover", "--yes", typed=f"{lost.key}\n").returncode == 0
        old.start()
        done = new.overworld("recover", "--yes", typed=f"{lost.key}\n")
        assert done.returncode == 0, done.stderr
        with old.api() as api:
            assert "recovered on another machine" in failed_save(api, lost.ids["stops"])["message"]
            assert json_of(api.get("/recovery"))["state"] == "fenced"
        assert "fenced" in old.overworld("recovery", "status").stdout
        claimed = old.overworld("recovery", "claim", "--yes")
        assert claimed.returncode == 0, claimed.stderr
        new.start()
        with new.api() as api:
            assert "recovered on another machine" in failed_save(api, lost.ids["stops"])["message"]
        with old.api() as api:
            assert save(api, lost.ids["stops"])["state"] == "kept"


def test_a_trial_harms_nobody(lost: Lost) -> None:
    """All is brought back, nothing is claimed, and the copy never writes to the saves."""
    store = lost.copy_store("trial")
    with machine(lost.folder / "trial" / "data", save_store=store) as it:
        before = {path for path in (it.folder.parent / "store").rglob("*") if path.is_file()}
        done = it.overworld("recover", "--trial", typed=f"{lost.key}\n")
        assert done.returncode == 0, done.stderr
        it.start()
        with it.api() as api:
            until_state(api, lost.ids["runs"], "running")
            assert "trial" in failed_save(api, lost.ids["runs"])["message"]
        assert {path for path in (it.folder.parent / "store").rglob("*") if path.is_file()} == before


def test_what_cannot_be_recovered_is_said_and_changes_nothing(lost: Lost) -> None:
    """A machine with data, another key, a slip of the pen, a store without an installation, nobody to be asked."""
    store = lost.copy_store("refused")
    with machine(lost.folder / "refused" / "data", save_store=store) as it:

        def says(*arguments: str, key: str = lost.key) -> str:
            done = it.overworld("recover", *arguments, typed=f"{key}\n")
            assert done.returncode != 0
            assert lost.key not in done.stderr
            return done.stderr

        assert "Nobody is there to be asked" in says()
        assert "slip of the pen" in says("--yes", key=lost.key[:-1] + ("0" if lost.key[-1] != "0" else "1"))
        assert "does not open" in says("--yes", key=new_recovery_key())
        assert "no dump of the database from before" in says("--yes", "--at", "2020-01-01")
        it.environment["OVERWORLD_SAVE_STORE"] = f"local:{lost.folder}/refused/empty"
        assert "no installation in the save store" in says("--yes")
        assert {path.name for path in it.folder.iterdir()} <= {"up.lock", "save-cache"}
        it.environment["OVERWORLD_SAVE_STORE"] = store
        (it.folder / "servers").mkdir()
        assert "an installation here already" in says("--yes")
