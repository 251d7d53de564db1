"""Copies of SQLite worlds while something writes to them."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from worlds.asking import ask


def make_database(path: Path, *, wal: bool = False, rows: int = 100) -> None:
    """A database of numbers that add up to zero."""
    with sqlite3.connect(path) as database:
        if wal:
            database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE blocks (x INTEGER)")
        database.executemany("INSERT INTO blocks VALUES (?)", [(x - rows // 2,) for x in range(rows + 1)])
    database.close()


def total(path: Path) -> int:
    """The sum of a copy's numbers."""
    database = sqlite3.connect(path)
    try:
        return int(database.execute("SELECT sum(x) FROM blocks").fetchone()[0])
    finally:
        database.close()


@pytest.mark.parametrize("wal", [False, True])
def test_a_copy_is_consistent_while_it_is_written(tmp_path: Path, wal: bool) -> None:
    """Every transaction leaves the sum at zero; so is the sum of every copy, and the original is untouched by it."""
    (tmp_path / "world").mkdir()
    original = tmp_path / "world" / "map.sqlite"
    make_database(original, wal=wal)
    stop = threading.Event()

    def write() -> None:
        database = sqlite3.connect(original, timeout=30)
        while not stop.is_set():
            with database:
                database.execute("INSERT INTO blocks VALUES (5)")
                database.execute("INSERT INTO blocks VALUES (-5)")
        database.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            answered = ask(tmp_path, "sqlite", staging=".overworld-staging")
            assert answered.done == {"count": 1}, answered.error
            assert answered.items[0]["ok"], answered.items
            assert total(tmp_path / ".overworld-staging" / "world" / "map.sqlite") == 0
    finally:
        stop.set()
        writer.join()
    assert total(original) == 0
    assert sorted(path.name for path in (tmp_path / ".overworld-staging" / "world").iterdir()) == ["map.sqlite"]
    assert not list((tmp_path / "world").glob(".overworld*"))


def test_only_databases_are_copied(tmp_path: Path) -> None:
    """By their header, whatever they are called; or only those that patterns name. Links are not followed."""
    (tmp_path / "deep").mkdir()
    make_database(tmp_path / "deep" / "players.dat")
    make_database(tmp_path / "auth.sqlite")
    (tmp_path / "fake.sqlite").write_bytes(b"not one" * 1000)
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "auth.sqlite")
    found = ask(tmp_path, "sqlite", staging=".staging").items
    assert sorted(item["path"] for item in found) == ["auth.sqlite", "deep/players.dat"]
    found = ask(tmp_path, "sqlite", staging=".staging", patterns=["deep/*"]).items
    assert [item["path"] for item in found] == ["deep/players.dat"]


def test_damage_is_told(tmp_path: Path) -> None:
    """A database with a broken page is told not to be whole; one that cannot be opened neither stops the others."""
    make_database(tmp_path / "good.sqlite")
    make_database(tmp_path / "broken.sqlite", rows=5000)
    with (tmp_path / "broken.sqlite").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)
    (tmp_path / "worse.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 2000)
    found = {item["path"]: item["ok"] for item in ask(tmp_path, "sqlite", staging=".staging").items}
    assert found == {"good.sqlite": True, "broken.sqlite": False, "worse.sqlite": False}


def test_what_is_wrong_with_a_database_is_said_in_few_words(tmp_path: Path) -> None:
    """SQLite repeats names that the game has chosen, and the words go into a row and an event of every save."""
    name = "c" * 200_000
    database = sqlite3.connect(tmp_path / "map.sqlite")
    database.execute(f'CREATE TABLE blocks ("{name}")')
    database.execute("INSERT INTO blocks VALUES (NULL)")
    database.execute("PRAGMA writable_schema=ON")
    database.execute("UPDATE sqlite_master SET sql = ?", (f'CREATE TABLE blocks ("{name}" NOT NULL)',))
    database.commit()
    database.close()
    answered = ask(tmp_path, "sqlite", staging=".overworld-staging")
    assert not answered.items[0]["ok"]
    assert answered.items[0]["says"].startswith("NULL value in blocks.ccc")
    assert len(answered.items[0]["says"]) == 300
