"""The process is killed at every request of every call, before it is sent and before its answer is read; then the same
call is made again by a new process, as the controller does. Nothing is lost, doubled or left over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from azure_standin.installation import AzureStage, Deadly, Killed
from overworld.cloud.azure.cloud import AzureCloud
from overworld.cloud.sweep import SweepRule, sweep
from overworld.domain.addresses import AddressLease

ID, OTHER = "bcdf23456789", "bcdf23456788"
FOLDER, NEIGHBOUR = f"{ID}-world-1", f"{OTHER}-world-1"
NAME = f"overworld-prod-{ID}"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MOST_REQUESTS = 40

Call = Callable[[AzureCloud], Awaitable[object]]

answered_or_not = pytest.mark.parametrize("answered", [False, True], ids=["not sent", "answer lost"])


async def begin(azure: AzureStage, prepare: Call) -> None:
    """A fresh Azure on which operations take two looks, with what the call needs."""
    azure.standin.begin_anew(steps=2)
    cloud = azure.cloud()
    await prepare(cloud)
    await cloud.close()


async def kill_everywhere(
    azure: AzureStage, prepare: Call, call: Call, check: Callable[[int], None], *, answered: bool
) -> int:
    """Kill ``call`` at its first, second, ... request, each time on a fresh Azure; make it again; ``check``. Ends when
    the call survives. Returns how many requests it has."""
    for at in range(1, MOST_REQUESTS):
        await begin(azure, prepare)
        deadly = Deadly(at, answered=answered, ca_file=azure.ca_file)
        victim = azure.cloud(transport=deadly)
        killed = False
        try:
            await call(victim)
        except* Killed:  # alone, or from a group of requests side by side
            killed = True
        finally:
            await victim.close()
        heir = azure.cloud()
        await call(heir)
        await heir.close()
        check(at)
        if not killed:
            return deadly.sent
    raise AssertionError(f"the call makes more than {MOST_REQUESTS} requests")


async def nothing(_cloud: AzureCloud) -> None:
    """Nothing is needed."""


async def an_address(cloud: AzureCloud) -> None:
    """The server has an address."""
    await cloud.ensure_address(ID, "my-world")


@answered_or_not
async def test_making_an_address(azure: AzureStage, answered: bool) -> None:
    """Wherever it dies: exactly one public IP, ready, and no second number was ever taken."""

    def check(at: int) -> None:
        network = azure.standin.network
        assert list(network.addresses) == [NAME], at
        assert network.addresses[NAME]["properties"]["provisioningState"] == "Succeeded", at
        assert network.ever == ["198.18.113.1"], at

    assert await kill_everywhere(azure, nothing, an_address, check, answered=answered) >= 4


@answered_or_not
async def test_mending_an_address(azure: AzureStage, answered: bool) -> None:
    """The label changes once and for all, the IP stays."""

    def check(at: int) -> None:
        network = azure.standin.network
        assert network.addresses[NAME]["properties"]["dnsSettings"]["domainNameLabel"] == "your-world", at
        assert network.ever == ["198.18.113.1"], at

    async def relabel(cloud: AzureCloud) -> None:
        await cloud.ensure_address(ID, "your-world")

    assert await kill_everywhere(azure, an_address, relabel, check, answered=answered) >= 4


@answered_or_not
async def test_releasing_an_address(azure: AzureStage, answered: bool) -> None:
    """It is gone, and the neighbour's is not."""

    async def two(cloud: AzureCloud) -> None:
        await an_address(cloud)
        await cloud.ensure_address(OTHER, "other-world")

    def check(at: int) -> None:
        assert list(azure.standin.network.addresses) == [f"overworld-prod-{OTHER}"], at

    async def release(cloud: AzureCloud) -> None:
        await cloud.release_address(ID)

    assert await kill_everywhere(azure, two, release, check, answered=answered) >= 3


@answered_or_not
async def test_a_whole_life(azure: AzureStage, answered: bool) -> None:
    """Made, used, no longer used, released, all by one process that dies once: nothing is left."""

    async def live(cloud: AzureCloud) -> None:
        await an_address(cloud)
        azure.standin.network.attach(NAME, "balancer")
        azure.standin.network.detach(NAME)
        await cloud.release_address(ID)

    def check(at: int) -> None:
        assert azure.standin.network.addresses == {}, at

    assert await kill_everywhere(azure, nothing, live, check, answered=answered) >= 7


@answered_or_not
async def test_a_sweep(azure: AzureStage, answered: bool) -> None:
    """An orphan that was due is gone, one that was not is marked, and the leased one is as it was."""
    leased, due, young = "bcdf23456782", "bcdf23456783", "bcdf23456784"

    async def three(cloud: AzureCloud) -> None:
        for server_id in (leased, due, young):
            await cloud.ensure_address(server_id, f"l-{server_id}")
        await cloud.mark_orphan(due, NOW - timedelta(days=2))

    async def read() -> list[AddressLease]:
        return [AddressLease(leased, "chess", ports=1, leased_at=NOW)]

    async def run(cloud: AzureCloud) -> None:
        await sweep(cloud, read, NOW, SweepRule())

    def check(at: int) -> None:
        tags = {name: one["tags"] for name, one in azure.standin.network.addresses.items()}
        assert tags.keys() == {f"overworld-prod-{leased}", f"overworld-prod-{young}"}, at
        assert tags[f"overworld-prod-{young}"]["overworld-orphan-since"] == "2026-11-23T12:00:00+00:00", at
        assert "overworld-orphan-since" not in tags[f"overworld-prod-{leased}"], at

    assert await kill_everywhere(azure, three, run, check, answered=answered) >= 7


@answered_or_not
async def test_folders(azure: AzureStage, answered: bool) -> None:
    """Share and folder exist once; a folder that is removed takes all of its own and nothing else."""

    async def make(cloud: AzureCloud) -> None:
        await cloud.ensure_folder(ID, 1)

    def made(at: int) -> None:
        assert azure.standin.shares.paths == {"worlds": {f"{FOLDER}/"}}, at

    assert await kill_everywhere(azure, nothing, make, made, answered=answered) == 3

    async def full(cloud: AzureCloud) -> None:
        await make(cloud)
        inside = {"level.dat", "a b&c.txt", "region/", "region/r.0.0.mca", "region/deep/", "region/deep/x"}
        azure.standin.shares.paths["worlds"] |= {f"{FOLDER}/{path}" for path in inside} | {
            f"{NEIGHBOUR}/",
            f"{NEIGHBOUR}/keep",
        }

    async def remove(cloud: AzureCloud) -> None:
        await cloud.remove_folder(ID, 1)

    def gone(at: int) -> None:
        assert azure.standin.shares.paths == {"worlds": {f"{NEIGHBOUR}/", f"{NEIGHBOUR}/keep"}}, at

    assert await kill_everywhere(azure, full, remove, gone, answered=answered) >= 10
