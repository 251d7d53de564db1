"""The stages that the contract suite plays on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from contract.stages import LocalStage, MemoryStage, Stage
from contract.worlds import LocalWorldStage, WorldStage


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can come to, as a data folder has to be; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="overworld-") as name:
        os.chmod(name, 0o711)
        yield Path(name)


@pytest.fixture(params=["memory", "local"])
async def stage(request: pytest.FixtureRequest, open_folder: Path) -> AsyncIterator[Stage]:
    """Every engine in turn."""
    stage: Stage = MemoryStage() if request.param == "memory" else LocalStage(open_folder)
    yield stage
    await stage.leave()


@pytest.fixture
async def local(open_folder: Path) -> AsyncIterator[LocalStage]:
    """The local engine alone, for what others cannot do."""
    stage = LocalStage(open_folder)
    yield stage
    await stage.leave()


@pytest.fixture(params=["local"])
def world_stage(request: pytest.FixtureRequest, open_folder: Path) -> WorldStage:
    """Every engine's way to the files of a world in turn."""
    return LocalWorldStage(open_folder)
