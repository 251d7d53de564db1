"""A real restic, a local store and a real S3 server."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from overworld.saves.base import Repository
from overworld.saves.locations import StoreLocation
from overworld.saves.options import ResticOptions
from overworld.saves.program import find_restic
from overworld.saves.restic import Restic
from s3 import S3

PASSWORD = "not a secret"


@pytest.fixture(scope="session")
def restic_program() -> Path:
    """The restic that scripts/setup found or installed."""
    return find_restic()


@pytest.fixture
def store(restic_program: Path, tmp_path: Path) -> Restic:
    """The store with the options that Overworld uses, and a cache of its own."""
    return Restic(restic_program, tmp_path / "cache")


@pytest.fixture
def hasty_store(restic_program: Path, tmp_path: Path) -> Restic:
    """The same, with little patience for a store that fails."""
    options = ResticOptions(patience=timedelta(seconds=2), stuck_request=timedelta(seconds=2))
    return Restic(restic_program, tmp_path / "cache", options)


@pytest.fixture(scope="session")
def template(restic_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository to copy, because restic takes three seconds to choose how hard its password is to guess."""
    folder = tmp_path_factory.mktemp("template")
    repository = Repository(str(folder / "saves"), PASSWORD)
    asyncio.run(Restic(restic_program, folder / "cache").ensure_repository(repository, may_make=True))
    return folder / "saves"


@pytest.fixture
def local(tmp_path: Path, template: Path) -> Repository:
    """An empty repository in a local folder."""
    shutil.copytree(template, tmp_path / "saves" / "server")
    return StoreLocation(folder=tmp_path / "saves").repository("server", PASSWORD)


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    """A running S3 server with an empty bucket."""
    with S3(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def remote(s3: S3, template: Path) -> Repository:
    """An empty repository behind it."""
    shutil.copytree(template, s3.bucket / "worlds" / "server")
    return s3.location().repository("server", PASSWORD)


@pytest.fixture(params=["local", "remote"])
def repository(request: pytest.FixtureRequest) -> Repository:
    """Each kind in turn."""
    found: Repository = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A small world: 3 MB that do not compress, and some small files."""
    root = tmp_path / "world"
    (root / "region").mkdir(parents=True)
    (root / "region" / "r.0.0.mca").write_bytes(os.urandom(3_000_000))
    (root / "players").mkdir()
    (root / "players" / "ann.dat").write_bytes(b"ann")
    (root / "logs").mkdir()
    (root / "logs" / "latest.log").write_text("a line\n")
    (root / "empty").mkdir()
    return root


@pytest.fixture
def restics() -> Callable[[], list[psutil.Process]]:
    """The restic processes that this test has at work."""

    def look() -> list[psutil.Process]:
        found = []
        for child in psutil.Process().children(recursive=True):
            try:
                if Path(child.exe()).name == "restic":
                    found.append(child)
            except psutil.Error:
                continue
        return found

    return look


@pytest.fixture
def unreadable() -> Callable[[Path], AbstractContextManager[None]]:
    """``with unreadable(file):`` reading it fails. Root reads what nobody else may; what even it cannot read is the
    memory of another process at address 0 (proc_pid_mem(5)), and a file can be that."""

    @contextmanager
    def make(file: Path) -> Iterator[None]:
        if os.geteuid() != 0:
            file.chmod(0)
            yield
            return
        mounted = subprocess.run(["mount", "--bind", "/proc/1/mem", file], check=False, capture_output=True)
        if mounted.returncode != 0:
            assert not os.environ.get("CI"), mounted.stderr
            pytest.skip("NOT RUN: this machine lets us mount nothing")
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", file], check=True)

    return make
