"""The machines of nodes on Azure: asked about, powered off, and never anybody else's."""

from __future__ import annotations

import pytest

from azure_standin.installation import AzureStage
from azure_standin.machines import NODE_GROUP, machine_id
from azure_standin.server import SUBSCRIPTION, Fault
from overworld.cloud.azure.cloud import AzureCloud
from overworld.cloud.base import MachineState
from overworld.domain.errors import CloudRefused, CloudUnavailable

PATH = machine_id(SUBSCRIPTION, "aks-games-vmss", 3)
NODE = f"azure://{PATH}"


@pytest.fixture(autouse=True)
def machine(azure: AzureStage) -> None:
    """One machine that runs."""
    azure.standin.machines.add(PATH)


def sent(azure: AzureStage) -> list[str]:
    """The requests to ARM."""
    return [one for one in azure.standin.requests if "oauth2" not in one]


@pytest.mark.parametrize(
    ("power", "state"),
    [
        ("running", MachineState.RUNNING),
        ("starting", MachineState.RUNNING),
        ("stopping", MachineState.RUNNING),
        ("deallocating", MachineState.RUNNING),
        ("stopped", MachineState.STOPPED),
        ("deallocated", MachineState.STOPPED),
        ("unknown", MachineState.UNKNOWN),
        ("", MachineState.UNKNOWN),
    ],
)
async def test_only_what_is_off_is_off(
    azure: AzureStage, azure_cloud: AzureCloud, power: str, state: MachineState
) -> None:
    """A machine on its way down may still write; one that says nothing of its power is unknown."""
    azure.standin.machines.add(PATH, power)
    assert await azure_cloud.machine_state(NODE) is state


async def test_a_machine_that_is_not_there_is_gone(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """One machine, or its whole scale set; the letters' case does not matter, as ARM's does not."""
    assert await azure_cloud.machine_state(NODE.replace("Machines/3", "Machines/4")) is MachineState.GONE
    assert await azure_cloud.machine_state(NODE.replace("aks-games", "aks-other")) is MachineState.GONE
    assert await azure_cloud.machine_state(NODE.replace("resourceGroups", "resourcegroups")) is MachineState.RUNNING


async def test_powered_off_is_off_when_it_returns(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """The plug is pulled once, without asking the guest, and the operation is waited for; twice is as good as once."""
    pulled: list[str] = []
    azure.standin.machines.on_power_off = pulled.append
    azure.standin.operations.steps = 3
    await azure_cloud.power_off(NODE)
    assert await azure_cloud.machine_state(NODE) is MachineState.STOPPED
    await azure_cloud.power_off(NODE)
    assert pulled == [PATH.lower()]


async def test_a_machine_that_is_gone_is_powered_off(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """There is nothing left to do."""
    await azure_cloud.power_off(NODE.replace("Machines/3", "Machines/4"))


async def test_a_power_off_under_way_is_a_passing_fault(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Somebody else's, or that of a controller that died: the next call goes on."""
    azure.standin.operations.steps = 100
    azure.standin.machines.power_off(PATH, {"skipShutdown": "true"})
    with pytest.raises(CloudUnavailable, match="OperationNotAllowed"):
        await azure_cloud.power_off(NODE)
    assert await azure_cloud.machine_state(NODE) is MachineState.RUNNING


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "instanceView", status=500, code="InternalServerError"),
        Fault("GET", "instanceView", drop=True),
    ],
    ids=["500", "cut"],
)
async def test_one_fault_is_not_noticed(azure: AzureStage, azure_cloud: AzureCloud, fault: Fault) -> None:
    """A single fault costs a second try inside the same call."""
    azure.standin.faults.append(fault)
    assert await azure_cloud.machine_state(NODE) is MachineState.RUNNING
    assert azure.standin.faults == []


async def test_what_cannot_be_asked_is_no_answer(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """A refusal, a missing group, a throttle: errors, and never gone or stopped."""
    azure.standin.faults.append(Fault("GET", "instanceView", status=403, code="AuthorizationFailed"))
    with pytest.raises(CloudRefused, match="AuthorizationFailed"):
        await azure_cloud.machine_state(NODE)
    azure.standin.faults.append(Fault("GET", "instanceView", status=404, code="ResourceGroupNotFound"))
    with pytest.raises(CloudRefused, match="nothing to ask"):
        await azure_cloud.machine_state(NODE)
    azure.standin.faults.append(Fault("POST", "powerOff", status=403, code="AuthorizationFailed"))
    with pytest.raises(CloudRefused, match="AuthorizationFailed"):
        await azure_cloud.power_off(NODE)


@pytest.mark.parametrize(
    "provider_id",
    [
        "",
        "aws:///eu-west-1a/i-0abc",
        NODE.replace(NODE_GROUP, "somebody-elses"),
        NODE.replace(SUBSCRIPTION, "another"),
        f"{NODE}/../4",
        NODE.replace("Machines/3", "Machines/.."),
        f"{NODE}?x=y",
        NODE.replace("azure://", "https://evil.example"),
    ],
)
async def test_nobody_elses_machine_is_touched(azure: AzureStage, azure_cloud: AzureCloud, provider_id: str) -> None:
    """What is outside the cluster's node resource group is refused before anything is sent."""
    for call in (azure_cloud.machine_state, azure_cloud.power_off):
        with pytest.raises(CloudRefused, match="node resource group") as refused:
            await call(provider_id)
        assert refused.value.reason == "MachineForeign"
    assert sent(azure) == []


async def test_without_a_node_resource_group_nothing_is_asked(azure: AzureStage) -> None:
    """The operator did not say where nodes are: every machine is foreign."""
    cloud = azure.cloud(node_resource_group=None)
    with pytest.raises(CloudRefused, match="not set"):
        await cloud.power_off(NODE)
    await cloud.close()
