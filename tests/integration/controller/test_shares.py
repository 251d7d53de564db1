"""Folders of worlds in shares: made before the world, gone after it, whenever the cloud or the controller fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from azure_standin.installation import AzureStage, run_azure
from azure_standin.server import Fault
from integration.controller.conftest import SOON_SECONDS, Site
from overworld.controller import executor
from overworld.domain.conditions import ConditionType, find_condition
from overworld.domain.operations import Outcome
from overworld.domain.state import State
from overworld.domain.worlds import Storage
from overworld.services import servers as services
from overworld.services import worlds
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


async def playing(site: Site) -> str:
    """A server that runs in a share."""
    server_id = site.create(storage=Storage.SHARE)
    await site.until_state(server_id, State.RUNNING)
    return server_id


def begin(site: Site, server_id: str) -> str:
    """A worker begins a generation: the row first, then the claim; the folder that it waits for."""
    with site.database.transaction() as tx:
        _, generation = worlds.reserve_generation(tx, server_id, datetime.now(UTC) + timedelta(days=2))
    site.world.begin_world(server_id, generation)
    return f"{server_id}-world-{generation}/"


async def until_quiet(site: Site, server_id: str) -> None:
    """Until no worker waits for anything."""

    def is_quiet() -> bool:
        seen = site.world.observe(server_id)
        return not seen.begun and not seen.given_up

    await eventually(is_quiet, SOON_SECONDS, "workers wait for nothing")


async def test_what_a_worker_begins_gets_a_folder_and_what_it_gives_up_loses_it(site: Site, azure: AzureStage) -> None:
    """While the game plays on, and with all that is in it by then; the present world's folder is nobody's business."""
    async with site.controller():
        server_id = await playing(site)
        second, third = begin(site, server_id), begin(site, server_id)
        await until_quiet(site, server_id)
        present = f"{server_id}-world-1/"
        assert folders(azure) == {present, second, third}
        folders(azure).update({f"{second}region/", f"{second}region/r.0.0.mca"})
        site.world.give_up_world(server_id, 2)
        await until_quiet(site, server_id)
        assert folders(azure) == {present, third}
        record = await site.until_state(server_id, State.RUNNING)
        assert record.server.restarts == 0
        site.ask(services.delete, server_id, timedelta(0))
        await eventually(lambda: site.record(server_id) is None, SOON_SECONDS, "the server is forgotten")
    assert folders(azure) == set()


async def test_what_nobody_asked_for_gets_no_folder(site: Site, azure: AzureStage) -> None:
    """A generation of which no row speaks would be nobody's to remove."""
    async with site.controller():
        server_id = await playing(site)
        site.world.begin_world(server_id, 7)
        begin(site, server_id)
        await eventually(lambda: site.world.observe(server_id).begun == {7}, SOON_SECONDS, "the other one is placed")
    assert folders(azure) == {f"{server_id}-world-1/", f"{server_id}-world-2/"}


@pytest.mark.parametrize("moment", ["PUT -world-2", "DELETE -world-2"])
async def test_another_controller_goes_on_with_a_workers_folder(
    site: Site, azure: AzureStage, quick_lease: None, moment: str
) -> None:
    """Whether the answer to its making or to its removal was lost: it is there, then it is gone."""
    method, _, path = moment.partition(" ")
    async with site.controller("first"):
        server_id = await playing(site)
        azure.standin.faults.append(Fault(method, path, drop_after=True))
        folder = begin(site, server_id)
        if method == "DELETE":
            await until_quiet(site, server_id)
            site.world.give_up_world(server_id, 2)
        await eventually(lambda: not azure.standin.faults, SOON_SECONDS, "the answer was lost")
    async with site.controller("second"):
        await until_quiet(site, server_id)
        if method == "PUT":
            assert folder in folders(azure)
            site.world.give_up_world(server_id, 2)
            await until_quiet(site, server_id)
    assert folders(azure) == {f"{server_id}-world-1/"}


async def test_a_refused_folder_disturbs_no_game(site: Site, azure: AzureStage) -> None:
    """Its owner is told why nothing is restored; stops and starts go on meanwhile; once it is mended the worker is."""
    async with site.controller():
        server_id = await playing(site)
        azure.standin.faults += [Fault("PUT", "-world-2", status=403, code="AuthorizationPermissionMismatch")] * 20
        begin(site, server_id)

        def is_told() -> bool:
            record = site.record(server_id)
            placed = find_condition(record.status.conditions if record else (), ConditionType.PLACED)
            return placed is not None and placed.is_true and placed.reason == "NoFolder"

        await eventually(is_told, SOON_SECONDS, "the refusal is told")
        operation = await site.until_ended(site.ask(services.stop, server_id))
        assert operation.outcome is Outcome.SUCCEEDED
        azure.standin.faults.clear()
        operation = await site.until_ended(site.ask(services.start, server_id))
        assert operation.outcome is Outcome.SUCCEEDED
        await until_quiet(site, server_id)
        await eventually(lambda: not is_told(), SOON_SECONDS, "nothing is lacking any more")
    assert f"{server_id}-world-2/" in folders(azure)


async def test_a_folder_with_very_many_files_holds_up_nobody(
    site: Site, azure: AzureStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is emptied turn by turn; what its owner wishes for meanwhile is done, and its claim stays until the end."""
    monkeypatch.setattr(executor, "CLEARING_TURN_SECONDS", 0.1)
    may_end, remove = asyncio.Event(), site.cloud.remove_folder

    async def remove_slowly(server_id: str, generation: int) -> None:
        await may_end.wait()
        await remove(server_id, generation)

    monkeypatch.setattr(site.cloud, "remove_folder", remove_slowly)
    async with site.controller():
        server_id = await playing(site)
        folder = begin(site, server_id)
        await until_quiet(site, server_id)
        site.world.give_up_world(server_id, 2)
        for wish, state in ((services.stop, State.STOPPED), (services.start, State.RUNNING)):
            operation = await site.until_ended(site.ask(wish, server_id))
            assert operation.outcome is Outcome.SUCCEEDED
            await site.until_state(server_id, state)
        assert site.world.observe(server_id).given_up == {2}
        may_end.set()
        await until_quiet(site, server_id)
    assert folder not in folders(azure)
