"""The stand-in for Azure, and every cloud in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from azure_standin.installation import AzureStage, run_azure
from overworld.cloud.azure.cloud import AzureCloud
from overworld.cloud.base import Cloud
from overworld.cloud.none import NoCloud


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[AzureStage]:
    """A fresh stand-in."""
    with run_azure(tmp_path) as stage:
        yield stage


@pytest.fixture
async def azure_cloud(azure: AzureStage) -> AsyncIterator[AzureCloud]:
    """A client of it."""
    cloud = azure.cloud()
    yield cloud
    await cloud.close()


@pytest.fixture(params=["none", "azure"])
async def cloud(request: pytest.FixtureRequest) -> AsyncIterator[Cloud]:
    """Every implementation of the port."""
    if request.param == "none":
        yield NoCloud()
        return
    stage: AzureStage = request.getfixturevalue("azure")
    opened = stage.cloud()
    yield opened
    await opened.close()
