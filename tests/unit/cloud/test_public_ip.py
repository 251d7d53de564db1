"""The bodies that are sent to ARM, and what is made of its answers."""

from __future__ import annotations

import copy
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.cloud.azure.place import FORBIDDEN_TAG, AzurePlace
from overworld.cloud.azure.public_ip import mended_public_ip, orphan_since, wanted_public_ip

PLACE = AzurePlace(installation="prod", subscription_id="s", resource_group="games", region="eastus")
ID = "bcdf23456789"


def settled(label: str = "my-world") -> dict[str, Any]:
    """The public IP as ARM shows it when all is well."""
    seen = wanted_public_ip(PLACE, ID, label)
    seen |= {"name": PLACE.address_name(ID), "id": PLACE.address_path(ID), "type": "t", "etag": 'W/"1"'}
    seen["properties"] |= {
        "provisioningState": "Succeeded",
        "ipAddress": "203.0.113.1",
        "idleTimeoutInMinutes": 4,
        "ipTags": [],
        "resourceGuid": "g",
        "ipConfiguration": {"id": "front"},
    }
    seen["properties"]["dnsSettings"]["fqdn"] = f"{label}.eastus.cloudapp.azure.com"
    return seen


def test_nothing_to_mend() -> None:
    """All is well: nothing is sent."""
    assert mended_public_ip(settled(), PLACE, ID, "my-world") is None


def test_mending_keeps_what_is_not_wrong() -> None:
    """A new label changes the label; everything that can be written is sent back as it was read, the IP too."""
    body = mended_public_ip(settled(), PLACE, ID, "your-world")
    assert body == {
        "location": "eastus",
        "sku": {"name": "Standard", "tier": "Regional"},
        "zones": ["1", "2", "3"],
        "tags": {"overworld-installation": "prod", "overworld-server": ID},
        "properties": {
            "publicIPAllocationMethod": "Static",
            "publicIPAddressVersion": "IPv4",
            "dnsSettings": {"domainNameLabel": "your-world"},
            "ipAddress": "203.0.113.1",
            "idleTimeoutInMinutes": 4,
            "ipTags": [],
        },
    }


names = st.sampled_from(
    ["service", "Service", "k8s-azure-service", "k8s-azure-x", "aks-managed-a", "kubernetes-cluster-name", "a", "owner"]
)


@given(st.dictionaries(names, st.text(max_size=3)), st.sampled_from(["Succeeded", "Failed"]), st.booleans())
def test_one_mending_is_enough(tags: dict[str, str], state: str, marked: bool) -> None:
    """What ARM makes of a mended body needs no mending, has no forbidden tag, and reading is not changed by it."""
    seen = settled("old-label")
    seen["properties"]["provisioningState"] = state
    seen["tags"] |= tags | ({"overworld-orphan-since": "2026-11-23T12:00:00+00:00"} if marked else {})
    before = copy.deepcopy(seen)
    body = mended_public_ip(seen, PLACE, ID, "my-world")
    assert seen == before
    assert body is not None
    assert [tag for tag in body["tags"] if FORBIDDEN_TAG.fullmatch(tag)] == []
    assert {tag for tag in tags if not FORBIDDEN_TAG.fullmatch(tag)} <= body["tags"].keys()
    after = settled("my-world") | {"tags": body["tags"]}
    assert mended_public_ip(after, PLACE, ID, "my-world") is None


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2026-11-23T12:00:00+00:00", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("2026-11-23T12:00:00", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_mark_that_somebody_edited(text: str, since: datetime | None) -> None:
    """A time that cannot be read is no time: the wait begins anew."""
    assert orphan_since({"overworld-orphan-since": text}) == since


@pytest.mark.parametrize("name", ["", "-a", "a-", "Prod", "a" * 21, "a_b"])
def test_an_installation_has_a_plain_name(name: str) -> None:
    """It is a part of names and tags for ever, so it is checked at once."""
    with pytest.raises(ValueError, match="1-20 of a-z"):
        AzurePlace(installation=name, subscription_id="s", resource_group="g", region="r")


@pytest.mark.parametrize("name", ["base", "capacity", "none", "sweep", "azure", "azure.place", "azure.public_ip"])
def test_the_port_costs_nothing(name: str) -> None:
    """Without Azure nothing of Azure's libraries is imported (48 MiB): neither by the port nor by the pure modules."""
    program = f"import sys, overworld.cloud.{name}; print([m for m in sys.modules if m in ('azure.core', 'aiohttp')])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"
