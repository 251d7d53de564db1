"""What most of these tests play on: an Overworld that saves, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from installation import Installation
from integration.worker.saving import saving_installation


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One Overworld for the tests of a file."""
    with saving_installation() as it:
        yield it


@pytest.fixture
def api(installation: Installation) -> Iterator[httpx.Client]:
    """The admin's client, with patience: an edit may wait for a save."""
    with installation.api() as client:
        client.timeout = httpx.Timeout(60)
        yield client
