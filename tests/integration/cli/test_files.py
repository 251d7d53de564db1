"""``overworld files`` against the real API, the worker's HTTP and agents."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cli.conftest import Overworld, Run
from integration.cli.test_against_the_api import json_of, succeed
from worlds.serving import make_folder, serve_files


@pytest.fixture
def world(overworld: Overworld, run: Run) -> Iterator[Path]:
    """The world of a server called meadow, which runs."""
    for folder in (overworld.data.parent, *overworld.data.parents[1:4]):
        folder.chmod(folder.stat().st_mode | 0o011)
    server = json_of(run, "create", "luanti", "meadow", "--timeout", "60")
    folder = make_folder(overworld.data, server["id"])
    overworld.data.chmod(0o711)
    with serve_files(overworld.data):
        yield folder


def test_files_come_and_go(run: Run, world: Path, tmp_path: Path) -> None:
    """Put, list, print, move, take away, remove; each says what it did, and that the game runs."""
    local = tmp_path / "mod.lua"
    local.write_bytes(b"print('hello')\n\xff")
    said = run("files", "mkdir", "meadow", "mods")
    assert (said.exit_code, said.stdout) == (0, "mods is made.\n")
    assert "The game runs" in said.stderr
    succeed(run, "files", "put", "meadow", str(local), "mods/")
    assert run("files", "put", "meadow", str(local), "mods/mod.lua", "--new").exit_code == 1
    assert [item["path"] for item in json_of(run, "files", "ls", "meadow", "mods")["items"]] == ["mods/mod.lua"]
    assert "16" in succeed(run, "files", "ls", "meadow", "mods")
    assert run("files", "cat", "meadow", "mods/mod.lua").stdout_bytes == local.read_bytes()
    succeed(run, "files", "mv", "meadow", "mods/mod.lua", "mods/a.lua")

    taken = tmp_path / "taken"
    taken.mkdir()
    assert "mods.zip has" in succeed(run, "files", "get", "meadow", "mods", str(taken))
    with zipfile.ZipFile(taken / "mods.zip") as archive:
        assert archive.read("a.lua") == local.read_bytes()
    again = run("files", "get", "meadow", "mods", str(taken))
    assert (again.exit_code, "there already" in again.output) == (2, True)
    succeed(run, "files", "get", "meadow", "mods/a.lua", str(taken / "here.lua"))
    assert (taken / "here.lua").read_bytes() == local.read_bytes()
    assert sorted(os.listdir(taken)) == ["here.lua", "mods.zip"]

    assert run("files", "rm", "meadow", "mods").exit_code == 1
    succeed(run, "files", "rm", "-r", "meadow", "mods")
    assert run("files", "ls", "meadow", "mods").exit_code == 3
    assert os.listdir(world) == []


def test_an_edit_is_never_lost(run: Run, world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the editor leaves is written; if somebody else was quicker it is refused, and kept here."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho edited > "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.setenv("VISUAL", str(editor))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "world.mt is written" in succeed(run, "files", "edit", "meadow", "world.mt")
    assert (world / "world.mt").read_text() == "edited\n"
    editor.write_text(f'#!/bin/sh\necho mine > "$1"; echo theirs > {world}/world.mt\n')
    refused = run("files", "edit", "meadow", "world.mt")
    assert refused.exit_code == 1
    kept = Path(refused.output.split("What you wrote is in ")[1].split(".\n")[0].strip())
    assert kept.read_text() == "mine\n"
    assert (world / "world.mt").read_text() == "theirs\n"


def test_a_hostile_name_does_nothing_here(run: Run, world: Path, tmp_path: Path) -> None:
    """A world's file names are strangers' words: no control reaches the terminal, no path leaves the folder."""
    (world / "\x1b[31mred\n").write_text("x")
    (world / "..\\..\\evil").write_text("x")
    shown = succeed(run, "files", "ls", "meadow")
    assert "\x1b" not in shown
    taken = tmp_path / "taken"
    taken.mkdir()
    succeed(run, "files", "get", "meadow", "..\\..\\evil", str(taken))
    assert os.listdir(taken) == [".._.._evil"]
