"""Azure on a bad day: throttled, broken, slow, forbidding. What passes is tried again, what does not is told."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from azure_standin.installation import AT_ONCE, AzureStage
from azure_standin.server import Fault
from overworld.cloud.azure.cloud import AzureCloud
from overworld.cloud.capacity import check_capacity
from overworld.domain.addresses import Leased
from overworld.domain.errors import CapacityExhausted, CloudRefused, CloudUnavailable

ID = "bcdf23456789"
FOLDER = f"{ID}-world-1"
NAME = f"overworld-prod-{ID}"


def one_ip(azure: AzureStage) -> bool:
    """There is one public IP, ready, and it has the only number that was ever taken."""
    network = azure.standin.network
    states = [one["properties"]["provisioningState"] for one in network.addresses.values()]
    return states == ["Succeeded"] and len(network.ever) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", status=500, code="InternalServerError"),
        Fault("GET", "publicIPAddresses", status=503, code="ServiceUnavailable"),
        Fault("GET", "operations", status=500, code="InternalServerError"),
        Fault("PUT", drop=True),
        Fault("GET", "operations", drop_after=True),
    ],
    ids=["500 on write", "503 on read", "500 while polling", "cut on write", "cut while polling"],
)
async def test_one_fault_is_not_noticed(azure: AzureStage, azure_cloud: AzureCloud, fault: Fault) -> None:
    """A single fault costs a second try inside the same call."""
    azure.standin.faults.append(fault)
    await azure_cloud.ensure_address(ID, "my-world")
    assert azure.standin.faults == []
    assert one_ip(azure)


async def test_a_fault_that_stays_is_unavailable(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """After as many tries as patience says the caller is told, and may try again later."""
    azure.standin.faults += [Fault("PUT", status=500, code="InternalServerError") for _ in range(3)]
    with pytest.raises(CloudUnavailable, match="500 InternalServerError"):
        await azure_cloud.ensure_address(ID, "my-world")
    assert len([one for one in azure.standin.writes() if one.startswith("PUT")]) == AT_ONCE.tries
    await azure_cloud.ensure_address(ID, "my-world")
    assert one_ip(azure)


async def test_a_lost_answer_to_a_write(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """The write happened, its answer did not come: it may be sent twice, and there is one IP in the end."""
    azure.standin.faults.append(Fault("PUT", drop_after=True))
    azure.standin.operations.steps = 3
    try:
        await azure_cloud.ensure_address(ID, "my-world")
    except CloudUnavailable:
        await azure_cloud.ensure_address(ID, "my-world")
    assert one_ip(azure)


async def test_a_short_retry_after_is_waited_for(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """429 with one second: the call takes that second and succeeds."""
    azure.standin.faults.append(Fault("PUT", status=429, code="TooManyRequests", retry_after="1"))
    began = time.monotonic()
    await azure_cloud.ensure_address(ID, "my-world")
    assert time.monotonic() - began >= 1
    assert one_ip(azure)


async def test_a_long_retry_after_is_handed_on(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """429 with five minutes: told at once, with the five minutes; meanwhile nobody asks, for other servers neither."""
    azure.standin.faults.append(Fault("PUT", status=429, code="SubscriptionRequestsThrottled", retry_after="300"))
    with pytest.raises(CloudUnavailable) as unavailable:
        await azure_cloud.ensure_address(ID, "my-world")
    assert unavailable.value.retry_after == timedelta(minutes=5)
    asked = len(azure.standin.requests)
    for call in (azure_cloud.ensure_address("bcdf23456788", "other-world"), azure_cloud.capacity()):
        with pytest.raises(CloudUnavailable) as unavailable:
            await call
        assert unavailable.value.retry_after is not None
        assert timedelta(minutes=4) < unavailable.value.retry_after <= timedelta(minutes=5)
    assert len(azure.standin.requests) == asked


async def test_an_operation_that_azure_forgot(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """An operation's own address can be gone before its resource is ready: a matter of time."""
    azure.standin.faults.append(Fault("GET", "operations", status=404, code="OperationNotFound"))
    with pytest.raises(CloudUnavailable, match="OperationNotFound"):
        await azure_cloud.ensure_address(ID, "my-world")
    await azure_cloud.ensure_address(ID, "my-world")
    assert one_ip(azure)


@pytest.mark.parametrize("code", ["InternalServerError", "Canceled"])
async def test_an_operation_that_fails_midway(azure: AzureStage, azure_cloud: AzureCloud, code: str) -> None:
    """It passes: the next call finds the failed IP and puts it right."""
    azure.standin.operations.errors.append(code)
    with pytest.raises(CloudUnavailable, match=code):
        await azure_cloud.ensure_address(ID, "my-world")
    await azure_cloud.ensure_address(ID, "my-world")
    assert one_ip(azure)


async def test_a_deletion_that_fails_midway(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """It is not called released, and the next call releases it."""
    await azure_cloud.ensure_address(ID, "my-world")
    azure.standin.operations.errors.append("InternalServerError")
    with pytest.raises(CloudUnavailable):
        await azure_cloud.release_address(ID)
    await azure_cloud.release_address(ID)
    assert azure.standin.network.addresses == {}


async def test_attached_between_looking_and_deleting(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Azure's own refusal to delete a used IP is a matter of time, not of a person."""
    await azure_cloud.ensure_address(ID, "my-world")
    azure.standin.faults.append(Fault("DELETE", status=400, code="PublicIPAddressCannotBeDeleted"))
    with pytest.raises(CloudUnavailable, match="still uses it"):
        await azure_cloud.release_address(ID)


async def test_an_operation_without_end(azure: AzureStage) -> None:
    """The call ends at its deadline; a later one, also of another process, waits for what goes on and adopts it."""
    azure.standin.operations.steps = 10**9
    hasty = azure.cloud(
        patience=replace(AT_ONCE, deadline=timedelta(seconds=0.5), poll_interval=timedelta(seconds=0.01))
    )
    for _ in range(2):
        with pytest.raises(CloudUnavailable, match=r"within 0\.5 s"):
            await hasty.ensure_address(ID, "my-world")
    await hasty.close()
    next(iter(azure.standin.operations.begun.values())).steps_left = 2
    patient = azure.cloud()
    await patient.ensure_address(ID, "my-world")
    await patient.close()
    assert one_ip(azure)
    assert len(azure.standin.writes()) == 1


async def test_two_controllers_at_once(azure: AzureStage) -> None:
    """An old leader and a new one make the same address: one IP, and neither is told anything but to try again."""
    azure.standin.operations.steps = 3
    clouds = [azure.cloud() for _ in range(4)]
    results = await asyncio.gather(*(cloud.ensure_address(ID, "my-world") for cloud in clouds), return_exceptions=True)
    for cloud in clouds:
        await cloud.ensure_address(ID, "my-world")
        await cloud.close()
    assert [one for one in results if isinstance(one, BaseException) and not isinstance(one, CloudUnavailable)] == []
    assert one_ip(azure)


@pytest.mark.parametrize(
    ("status", "code", "reason", "says"),
    [
        (403, "AuthorizationFailed", "NotAuthorized", "Network Contributor"),
        (403, "RequestDisallowedByPolicy", "Policy", "policy"),
        (409, "ScopeLocked", "Locked", "lock"),
        (400, "SomethingNew", "Refused", "400 SomethingNew"),
        (401, "InvalidAuthenticationTokenTenant", "NotSignedIn", "tenant"),
        (400, "StaticPublicIPCountLimitReached", "AddressQuota", "raise the quota"),
    ],
)
async def test_what_a_person_has_to_mend(
    azure: AzureStage, azure_cloud: AzureCloud, status: int, code: str, reason: str, says: str
) -> None:
    """One word, and a sentence that says what to do; not tried again inside the call."""
    azure.standin.faults.append(Fault("PUT", status=status, code=code))
    with pytest.raises(CloudRefused, match=says) as refused:
        await azure_cloud.ensure_address(ID, "my-world")
    assert refused.value.reason == reason
    assert NAME in refused.value.detail
    assert len(azure.standin.writes()) == 1


async def test_a_resource_group_that_is_missing(azure: AzureStage) -> None:
    """Not mistaken for an address that is gone: releasing is refused too, or a wrong setting would lose addresses."""
    cloud = azure.cloud(resource_group="typo")
    for call in (cloud.ensure_address(ID, "my-world"), cloud.release_address(ID)):
        with pytest.raises(CloudRefused, match="check subscription, resource group") as refused:
            await call
        assert refused.value.reason == "PlaceMissing"
    await cloud.close()


async def test_an_identity_that_entra_does_not_know(azure: AzureStage) -> None:
    """No token: told so, with what to check."""
    azure.identity = replace(azure.identity, tenant_id="wrong")
    cloud = azure.cloud()
    with pytest.raises(CloudRefused, match="check the workload identity") as refused:
        await cloud.ensure_address(ID, "my-world")
    assert refused.value.reason == "NotSignedIn"
    await cloud.close()


async def test_a_token_file_that_was_not_mounted(azure: AzureStage) -> None:
    """A pod without the identity's webhook: told so, like an unknown identity."""
    azure.identity = replace(azure.identity, token_file="/nowhere/token")
    cloud = azure.cloud()
    for call in (cloud.ensure_address(ID, "my-world"), cloud.ensure_folder(ID, 1)):
        with pytest.raises(CloudRefused, match="mounted token file") as refused:
            await call
        assert refused.value.reason == "NotSignedIn"
    await cloud.close()


async def test_entra_on_a_bad_day(azure: AzureStage) -> None:
    """Entra's own faults pass by themselves."""
    azure.standin.faults += [Fault("POST", "oauth2", status=503, code="temporarily_unavailable") for _ in range(9)]
    cloud = azure.cloud()
    with pytest.raises(CloudUnavailable):
        await cloud.ensure_address(ID, "my-world")
    azure.standin.faults.clear()
    await cloud.ensure_address(ID, "my-world")
    await cloud.close()


async def test_nobody_there(azure: AzureStage) -> None:
    """A host that does not answer is a passing fault."""
    azure.endpoints = replace(azure.endpoints, arm="https://127.0.0.1:1")
    cloud = azure.cloud()
    with pytest.raises(CloudUnavailable, match="did not answer"):
        await cloud.addresses()
    await cloud.close()


async def test_the_quota_is_told_before_and_after(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """With one IP of one used: the next is refused early with the figures, and late with Azure's own refusal."""
    azure.standin.network.limit = 1
    await azure_cloud.ensure_address(ID, "my-world")
    capacity = await azure_cloud.capacity()
    with pytest.raises(CapacityExhausted, match=r"1 of 1 in eastus are used.*Raise the quota"):
        check_capacity(capacity, Leased(ports=1, addresses_to_come=0), ports_needed=1)
    with pytest.raises(CloudRefused) as refused:
        await azure_cloud.ensure_address("bcdf23456788", "other-world")
    assert refused.value.reason == "AddressQuota"
    await azure_cloud.ensure_address(ID, "my-world")


async def test_shares_on_a_bad_day(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """A missing account, a share that is being deleted, a file that somebody holds open: each in the port's words."""
    await azure_cloud.ensure_folder(ID, 1)
    azure.standin.faults.append(Fault("PUT", f"/worlds/{FOLDER}", status=409, code="ShareBeingDeleted"))
    with pytest.raises(CloudUnavailable):
        await azure_cloud.ensure_folder(ID, 1)
    azure.standin.shares.paths["worlds"].add(f"{FOLDER}/level.dat")
    azure.standin.faults.append(Fault("DELETE", "level.dat", status=409, code="SharingViolation"))
    with pytest.raises(CloudUnavailable, match="still uses it"):
        await azure_cloud.remove_folder(ID, 1)
    await azure_cloud.remove_folder(ID, 1)
    assert azure.standin.shares.paths == {"worlds": set()}
    elsewhere = azure.cloud(storage_account="typo", share="none")
    with pytest.raises(CloudRefused) as refused:
        await elsewhere.ensure_folder(ID, 1)
    assert refused.value.reason == "PlaceMissing"
    await elsewhere.close()
