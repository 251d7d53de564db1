"""The stand-in for Azure's resource manager, met by Azure's own library."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.network import NetworkManagementClient

from azure_standin.server import SUBSCRIPTION, AzureStandIn, Fault, run_standin

GROUP, LOCATION = "addresses", "eastus"


class AnyToken:
    """Nobody asks who it is."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        """A token that never expires."""
        return AccessToken("any", 2**40)


@pytest.fixture
def azure() -> Iterator[AzureStandIn]:
    """The stand-in with one resource group."""
    with run_standin(AzureStandIn(groups={GROUP})) as running:
        yield running


@pytest.fixture
def network(azure: AzureStandIn) -> Iterator[Any]:
    """Azure's client for networks."""
    with NetworkManagementClient(
        AnyToken(),
        SUBSCRIPTION,
        base_url=azure.url,
        polling_interval=0,
        retry_backoff_factor=0.01,
        authentication_policy=SansIOHTTPPolicy(),
    ) as client:
        yield client


def static_ip(label: str) -> dict[str, Any]:
    """A public IP as Overworld wants it."""
    properties = {"publicIPAllocationMethod": "Static", "dnsSettings": {"domainNameLabel": label}}
    return {"location": LOCATION, "sku": {"name": "Standard"}, "properties": properties}


def create(network: Any, name: str, label: str) -> Any:
    """Create a public IP and wait for it."""
    return network.public_ip_addresses.begin_create_or_update(GROUP, name, static_ip(label)).result()


def test_a_write_takes_its_time_and_the_address_stays(azure: AzureStandIn, network: Any) -> None:
    """A long-running write is polled to its end; written again, the IP keeps its address."""
    azure.operations.seconds = 0.3
    began = time.monotonic()
    address = create(network, "one", "castle").ip_address
    assert time.monotonic() - began >= 0.3
    assert create(network, "one", "tower").ip_address == address
    assert network.public_ip_addresses.get(GROUP, "one").dns_settings.fqdn == "tower.eastus.cloudapp.azure.com"


def test_deleting_takes_its_time(azure: AzureStandIn, network: Any) -> None:
    """A deletion is polled to its end; then the IP is gone, and so is its label."""
    azure.operations.seconds = 0.2
    create(network, "one", "castle")
    network.public_ip_addresses.begin_delete(GROUP, "one").result()
    with pytest.raises(ResourceNotFoundError):
        network.public_ip_addresses.get(GROUP, "one")
    assert network.check_dns_name_availability(LOCATION, domain_name_label="castle").available


def test_refusals_carry_azures_words(azure: AzureStandIn, network: Any) -> None:
    """A label in use, a quota that is full, a group that is not there."""
    create(network, "one", "castle")
    with pytest.raises(HttpResponseError, match="DnsRecordInUse"):
        create(network, "two", "castle")
    azure.network.limit = 1
    with pytest.raises(HttpResponseError, match="PublicIPCountLimitReached"):
        create(network, "two", "tower")
    assert [use.limit for use in network.usages.list(LOCATION) if use.name.value == "PublicIPAddresses"] == [1]
    with pytest.raises(ResourceNotFoundError, match="ResourceGroupNotFound"):
        list(network.public_ip_addresses.list("elsewhere"))


def test_faults_in_passing_are_waited_out_by_the_library(azure: AzureStandIn, network: Any) -> None:
    """A 429 with Retry-After and a 500 are tried again by Azure's library itself."""
    create(network, "one", "castle")
    for status in (429, 500):
        azure.faults.append(Fault(status=status, code="InPassing", retry_after="0.1"))
        assert [ip.name for ip in network.public_ip_addresses.list(GROUP)] == ["one"]
