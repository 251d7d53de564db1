"""Public IPs on Azure: what is asked for, adopted, mended, refused and released."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from azure_standin.installation import AzureStage
from azure_standin.server import SUBSCRIPTION
from overworld.cloud.azure.cloud import AzureCloud
from overworld.cloud.azure.identity import sign_in
from overworld.domain.errors import CloudRefused, CloudUnavailable

ID = "bcdf23456789"
NAME = f"overworld-prod-{ID}"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BALANCER = "/subscriptions/s/resourceGroups/nodes/providers/Microsoft.Network/loadBalancers/kubernetes/front/a"


def public_ip(azure: AzureStage) -> dict[str, Any]:
    """The server's public IP, as the stand-in keeps it."""
    return azure.standin.network.addresses[NAME]


async def test_a_public_ip_that_azures_controller_leaves_alone(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Standard, static, in three zones, its label on itself, and no tag that Azure's controller would read."""
    await azure_cloud.ensure_address(ID, "my-world")
    made = public_ip(azure)
    assert (made["sku"]["name"], made["zones"], made["location"]) == ("Standard", ["1", "2", "3"], "eastus")
    assert made["properties"]["publicIPAllocationMethod"] == "Static"
    assert made["properties"]["dnsSettings"]["domainNameLabel"] == "my-world"
    assert made["tags"] == {"overworld-installation": "prod", "overworld-server": ID}


async def test_the_service_says_all_four_things(azure_cloud: AzureCloud) -> None:
    """The mission's three annotations and the resource group; the label is the one that the IP has."""
    address = await azure_cloud.ensure_address(ID, "my-world")
    prefix = "service.beta.kubernetes.io/azure-"
    assert address.annotations == {
        f"{prefix}pip-name": NAME,
        f"{prefix}dns-label-name": "my-world",
        f"{prefix}load-balancer-ip-allocation-method": "static",
        f"{prefix}load-balancer-resource-group": "games",
    }
    assert (address.ip, address.fqdn) == ("198.18.113.1", "my-world.eastus.cloudapp.azure.com")


async def test_the_generated_client_sends_the_same(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Azure's own client, told the same with its types, leaves the same public IP; it reads and deletes ours."""
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.mgmt.network.aio import NetworkManagementClient
    from azure.mgmt.network.models import (
        PublicIPAddress,
        PublicIPAddressDnsSettings,
        PublicIPAddressPropertiesFormat,
        PublicIPAddressSku,
    )

    await azure_cloud.ensure_address(ID, "my-world")
    ours = copy.deepcopy(public_ip(azure))
    await azure_cloud.release_address(ID)
    credential = sign_in(azure.identity, azure.endpoints)
    generated = NetworkManagementClient(
        credential,
        SUBSCRIPTION,
        base_url=azure.endpoints.arm,
        credential_scopes=[f"{azure.endpoints.audience}/.default"],
        transport=AioHttpTransport(connection_verify=azure.ca_file),
        polling_interval=0,
    )
    async with credential, generated:
        wish = PublicIPAddress(
            location="eastus",
            zones=["1", "2", "3"],
            sku=PublicIPAddressSku(name="Standard", tier="Regional"),
            tags={"overworld-installation": "prod", "overworld-server": ID},
            properties=PublicIPAddressPropertiesFormat(
                public_ip_allocation_method="Static",
                public_ip_address_version="IPv4",
                dns_settings=PublicIPAddressDnsSettings(domain_name_label="my-world"),
            ),
        )
        poller = await generated.public_ip_addresses.begin_create_or_update("games", NAME, wish)
        assert (await poller.result()).name == NAME
        theirs = public_ip(azure)
        for one in (ours, theirs):
            del one["etag"], one["properties"]["resourceGuid"], one["properties"]["ipAddress"]
        assert ours == theirs
        assert [seen.name async for seen in generated.public_ip_addresses.list("games")] == [NAME]
        await (await generated.public_ip_addresses.begin_delete("games", NAME)).result()
    assert azure.standin.network.addresses == {}


async def test_a_settled_address_costs_one_read(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """The second call writes nothing."""
    await azure_cloud.ensure_address(ID, "my-world")
    azure.standin.requests.clear()
    await azure_cloud.ensure_address(ID, "my-world")
    assert len(azure.standin.requests) == 1
    assert azure.standin.writes() == []


async def test_another_label_is_another_name_for_the_same_ip(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """The label changes on the attached IP; number, zones and attachment stay."""
    before = await azure_cloud.ensure_address(ID, "my-world")
    azure.standin.network.attach(NAME, BALANCER)
    after = await azure_cloud.ensure_address(ID, "your-world")
    assert (after.ip, after.fqdn) == (before.ip, "your-world.eastus.cloudapp.azure.com")
    assert public_ip(azure)["properties"]["ipConfiguration"] == {"id": BALANCER}
    assert azure.standin.network.ever == [before.ip]


@pytest.mark.parametrize(
    "tag", ["service", "k8s-azure-service", "k8s-azure-cluster-name", "kubernetes-cluster-name", "aks-managed-owner"]
)
async def test_a_tag_that_would_cost_the_ip_is_taken_off(azure: AzureStage, azure_cloud: AzureCloud, tag: str) -> None:
    """Tags by which Azure's controller deletes an IP go; other people's stay."""
    await azure_cloud.ensure_address(ID, "my-world")
    public_ip(azure)["tags"] |= {tag: "games/x", "cost-center": "42"}
    await azure_cloud.ensure_address(ID, "my-world")
    assert public_ip(azure)["tags"].keys() == {"overworld-installation", "overworld-server", "cost-center"}


async def test_a_failed_ip_is_put_right(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Provisioning state Failed is mended by writing again, and the IP keeps its number."""
    address = await azure_cloud.ensure_address(ID, "my-world")
    public_ip(azure)["properties"]["provisioningState"] = "Failed"
    assert await azure_cloud.ensure_address(ID, "my-world") == address


async def test_somebody_elses_ip_is_never_taken(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Our name without our tags is refused, for making, marking and releasing, and left as it is."""
    await azure_cloud.ensure_address(ID, "my-world")
    public_ip(azure)["tags"] = {"overworld-installation": "staging", "overworld-server": ID}
    for call in (
        azure_cloud.ensure_address(ID, "my-world"),
        azure_cloud.release_address(ID),
        azure_cloud.mark_orphan(ID, NOW),
    ):
        with pytest.raises(CloudRefused, match="without the tags of this server") as refused:
            await call
        assert refused.value.reason == "AddressForeign"
    assert public_ip(azure)["tags"]["overworld-installation"] == "staging"
    assert await azure_cloud.addresses() == ()


async def test_an_ip_of_the_wrong_kind_is_refused(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """A Basic IP would work today and not on the cluster's balancer; it can be released."""
    await azure_cloud.ensure_address(ID, "my-world")
    public_ip(azure)["sku"]["name"] = "Basic"
    with pytest.raises(CloudRefused, match="Basic, Static, IPv4") as refused:
        await azure_cloud.ensure_address(ID, "my-world")
    assert refused.value.reason == "AddressUnfit"
    await azure_cloud.release_address(ID)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "in the operation"])
async def test_a_taken_label_is_told(azure: AzureStage, azure_cloud: AzureCloud, late: bool) -> None:
    """Another tenant's label: refused with the reason, whenever Azure notices; another label then works."""
    if late:
        azure.standin.operations.errors.append("DnsRecordInUse")
    else:
        azure.standin.network.foreign_labels.add("minecraft")
    with pytest.raises(CloudRefused, match="choose another label") as refused:
        await azure_cloud.ensure_address(ID, "minecraft")
    assert refused.value.reason == "DnsLabelTaken"
    address = await azure_cloud.ensure_address(ID, "my-world")
    assert azure.standin.network.ever == [address.ip]


async def test_an_attached_ip_is_not_released(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """While a balancer uses it nothing is even asked for; once it is free it goes."""
    await azure_cloud.ensure_address(ID, "my-world")
    azure.standin.network.attach(NAME, BALANCER)
    azure.standin.requests.clear()
    with pytest.raises(CloudUnavailable, match="its Service is not gone"):
        await azure_cloud.release_address(ID)
    assert azure.standin.writes() == []
    azure.standin.network.detach(NAME)
    await azure_cloud.release_address(ID)
    assert azure.standin.network.addresses == {}


async def test_every_page_is_listed_and_only_ours(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Five of ours over three pages; another installation's and one with copied tags are not ours."""
    ids = [f"bcdf2345678{digit}" for digit in range(2, 7)]
    for server_id in ids:
        await azure_cloud.ensure_address(server_id, f"l-{server_id}")
    staging = azure.cloud(installation="staging")
    await staging.ensure_address(ID, "staging-world")
    await staging.close()
    ours = azure.standin.network.addresses[f"overworld-prod-{ids[0]}"]
    copied = dict(ours, name="by-hand", id=ours["id"].replace(ours["name"], "by-hand"))
    azure.standin.network.addresses["by-hand"] = copied
    assert [seen.server_id for seen in await azure_cloud.addresses()] == ids


async def test_a_region_without_zones(azure: AzureStage) -> None:
    """No zones are asked for where the place has none."""
    cloud = azure.cloud(zones=())
    await cloud.ensure_address(ID, "my-world")
    await cloud.close()
    assert "zones" not in public_ip(azure)


async def test_a_mark_is_kept_on_the_ip(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """Another process reads the time that this one noted; a lease takes the mark away."""
    await azure_cloud.ensure_address(ID, "my-world")
    await azure_cloud.mark_orphan(ID, NOW)
    another = azure.cloud()
    assert [seen.orphan_since for seen in await another.addresses()] == [NOW]
    await another.ensure_address(ID, "my-world")
    assert [seen.orphan_since for seen in await another.addresses()] == [None]
    await another.close()


async def test_it_signs_in_as_its_service_account(azure: AzureStage, azure_cloud: AzureCloud) -> None:
    """What Kubernetes mounted is what Entra was shown."""
    await azure_cloud.ensure_address(ID, "my-world")
    assert azure.standin.assertions == ["assertion-of-kubernetes"]
