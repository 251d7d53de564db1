"""Folders of worlds in shares: made before the world, gone after it, whenever the cloud or the controller fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from azure_standin.installation import AzureStage, run_azure
from azure_standin.server import Fault
from integration.controller.conftest import SOON_SECONDS, Site
from overworld.domain.conditions import ConditionType, find_condition
from overworld.domain.operations import Outcome
from overworld.domain.state import State
from overworld.domain.worlds import Storage
from overworld.services import servers as services
from waiting import eventually


@pytest.fixture
async def azure(site: Site, tmp_path: Path) -> AsyncIterator[AzureStage]:
    """The site's cloud has shares."""
    with run_azure(tmp_path) as stage:
        cloud = site.cloud = stage.cloud()
        yield stage
        await cloud.close()


def folders(azure: AzureStage) -> set[str]:
    """Every path in the share."""
    return azure.standin.shares.paths.get("worlds", set())


async def test_a_world_in_a_share_lives_and_goes_with_its_server(site: Site, azure: AzureStage) -> None:
    """The folder is there before the game starts, stays over a stop and the retention, and goes with the purge."""
    async with site.controller():
        server_id = site.create(storage=Storage.SHARE)
        neighbour = site.create("neighbour", storage=Storage.SHARE)
        await site.until_state(server_id, State.RUNNING)
        await site.until_state(neighbour, State.RUNNING)
        await site.until_ended(site.ask(services.stop, server_id))
        await site.until_ended(site.ask(services.delete, server_id, timedelta(days=1)))
        mine = f"{server_id}-world-1/"
        assert mine in folders(azure)
        azure.standin.shares.paths["worlds"].add(f"{mine}level.dat")
        site.ask(services.delete, server_id, timedelta(0))
        await eventually(lambda: site.record(server_id) is None, SOON_SECONDS, "the server is forgotten")
    assert folders(azure) == {f"{neighbour}-world-1/"}


async def test_a_settled_server_costs_the_share_no_request(site: Site, azure: AzureStage) -> None:
    """Also when it is started again."""
    async with site.controller():
        server_id = site.create(storage=Storage.SHARE)
        await site.until_state(server_id, State.RUNNING)
        before = len(azure.standin.requests)
        await site.until_ended(site.ask(services.restart, server_id))
        await site.until_state(server_id, State.RUNNING)
    assert azure.standin.requests[before:] == []


async def test_a_server_is_forgotten_only_when_its_folder_is_gone(site: Site, azure: AzureStage) -> None:
    """A file that somebody still holds open holds up the purge, and costs nothing but time."""
    async with site.controller():
        server_id = site.create(storage=Storage.SHARE)
        await site.until_state(server_id, State.RUNNING)
        azure.standin.shares.paths["worlds"].add(f"{server_id}-world-1/level.dat")
        for _ in range(2):
            azure.standin.faults.append(Fault("DELETE", "level.dat", status=409, code="SharingViolation"))
        site.ask(services.delete, server_id, timedelta(0))
        await eventually(lambda: site.record(server_id) is None, SOON_SECONDS, "the server is forgotten")
    assert (folders(azure), azure.standin.faults) == (set(), [])


async def test_a_share_that_cannot_be_had_is_told_and_mended(site: Site, azure: AzureStage) -> None:
    """What the cloud says is the server's condition; once somebody has acted, it starts."""
    azure.standin.accounts.clear()
    async with site.controller():
        server_id = site.create(storage=Storage.SHARE)
        record = await site.until_state(server_id, State.FAILED)
        placed = find_condition(record.status.conditions, ConditionType.PLACED)
        assert placed is not None
        assert placed.reason == "PlaceMissing"
        azure.standin.accounts.add("gameserversa")
        operation = await site.until_ended(site.ask(services.start, server_id))
        assert operation.outcome is Outcome.SUCCEEDED
    assert folders(azure) == {f"{server_id}-world-1/"}


@pytest.mark.parametrize("moment", ["PUT /worlds", "DELETE"])
async def test_another_controller_goes_on_where_one_died(
    site: Site, azure: AzureStage, quick_lease: None, moment: str
) -> None:
    """Whether the answer to the making or to a removal was lost: one folder, then none."""
    method, _, path = moment.partition(" ")
    azure.standin.faults.append(Fault(method, path, drop_after=True))
    async with site.controller("first"):
        server_id = site.create(storage=Storage.SHARE)
        if moment == "DELETE":
            await site.until_state(server_id, State.RUNNING)
            site.ask(services.delete, server_id, timedelta(0))
        await eventually(lambda: not azure.standin.faults, SOON_SECONDS, "the answer was lost")
    async with site.controller("second"):
        if moment != "DELETE":
            await site.until_state(server_id, State.RUNNING)
            assert folders(azure) == {f"{server_id}-world-1/"}
            site.ask(services.delete, server_id, timedelta(0))
        await eventually(lambda: site.record(server_id) is None, SOON_SECONDS, "the server is forgotten")
    assert folders(azure) == set()
