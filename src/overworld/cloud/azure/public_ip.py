"""A server's public IP as ARM writes it: what to ask for, what to keep, what to mend. Pure: plain JSON in and out.

Standard, static, in all zones, in our own resource group, the DNS label on the IP itself and equal to the Service's
annotation: then the cluster's cloud controller finds nothing to change, and never writes to it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from overworld.cloud.azure.place import FORBIDDEN_TAG, INSTALLATION_TAG, ORPHAN_TAG, SERVER_TAG, AzurePlace
from overworld.cloud.base import Address, AddressSeen
from overworld.domain.errors import CloudRefused
from overworld.domain.servers import ServerId

Json = dict[str, Any]

UNSETTLED = frozenset({"Updating", "Deleting", "Creating"})
ANNOTATION = "service.beta.kubernetes.io/azure-"

# What ARM says and does not want to be told.
READ_ONLY = ("id", "name", "type", "etag")
READ_ONLY_PROPERTIES = ("provisioningState", "resourceGuid", "ipConfiguration")


def wanted_public_ip(place: AzurePlace, server_id: ServerId, label: str) -> Json:
    """The body that makes a server's public IP."""
    body: Json = {
        "location": place.region,
        "sku": {"name": "Standard", "tier": "Regional"},
        "tags": our_tags(place, server_id),
        "properties": {
            "publicIPAllocationMethod": "Static",
            "publicIPAddressVersion": "IPv4",
            "dnsSettings": {"domainNameLabel": label},
        },
    }
    if place.zones:
        body["zones"] = list(place.zones)
    return body


def our_tags(place: AzurePlace, server_id: ServerId) -> dict[str, str]:
    """The tags by which an address is known to be this server's of this installation."""
    return {INSTALLATION_TAG: place.installation, SERVER_TAG: server_id}


def refuse_foreign(seen: Json, place: AzurePlace, server_id: ServerId) -> None:
    """Returns None if the public IP carries our tags. Raises ``CloudRefused`` (``AddressForeign``) if it does not:
    somebody may need it."""
    tags = seen.get("tags") or {}
    if any(tags.get(key) != value for key, value in our_tags(place, server_id).items()):
        raise CloudRefused(
            "AddressForeign",
            f"There is a public IP {seen['name']} in {place.resource_group} without the tags of this server: somebody "
            f"else made it, or its tags were changed. Delete it, or tag it {INSTALLATION_TAG}={place.installation} "
            f"and {SERVER_TAG}={server_id}.",
        )


def refuse_unfit(seen: Json, place: AzurePlace) -> None:
    """Returns None if the public IP is of the kind that is wanted. Raises ``CloudRefused`` (``AddressUnfit``) if not:
    mending it would be another IP, and the IP is the promise."""
    properties = seen["properties"]
    version = properties.get("publicIPAddressVersion", "IPv4")
    kind = (seen["sku"]["name"], properties["publicIPAllocationMethod"], version)
    if kind != ("Standard", "Static", "IPv4"):
        raise CloudRefused(
            "AddressUnfit",
            f"The public IP {seen['name']} in {place.resource_group} is {', '.join(kind)}, not Standard, Static, IPv4, "
            "and that cannot be changed: delete it, and a right one is made.",
        )


def mended_public_ip(seen: Json, place: AzurePlace, server_id: ServerId, label: str) -> Json | None:
    """The body that puts right what is wrong with the server's public IP; None if nothing is.

    Everything else in it stays as it is, tags of others (a company's policy) too. Zones are never touched: they cannot
    be changed without a new IP, and the IP is the promise.
    """
    tags = seen.get("tags") or {}
    kept = {key: value for key, value in tags.items() if key != ORPHAN_TAG and not FORBIDDEN_TAG.fullmatch(key)}
    healthy = seen["properties"]["provisioningState"] == "Succeeded" and seen["properties"].get("ipAddress")
    if healthy and kept == tags and label_of(seen) == label:
        return None
    body = {key: copy.deepcopy(value) for key, value in seen.items() if key not in READ_ONLY}
    body["tags"] = kept
    body["properties"] = {
        key: value for key, value in body["properties"].items() if key not in READ_ONLY_PROPERTIES
    } | {"dnsSettings": {**(seen["properties"].get("dnsSettings") or {}), "domainNameLabel": label}}
    body["properties"]["dnsSettings"].pop("fqdn", None)  # follows from the label
    return body


def label_of(seen: Json) -> str | None:
    """The DNS label that the public IP has now."""
    label: str | None = (seen["properties"].get("dnsSettings") or {}).get("domainNameLabel")
    return label


def address_of(seen: Json, place: AzurePlace, server_id: ServerId) -> Address:
    """The address, and everything that its Service has to say so that the cluster uses this IP and no other."""
    name, properties = seen["name"], seen["properties"]
    return Address(
        server_id=server_id,
        resource=name,
        ip=properties["ipAddress"],
        fqdn=properties["dnsSettings"].get("fqdn"),
        annotations={
            f"{ANNOTATION}pip-name": name,
            f"{ANNOTATION}dns-label-name": properties["dnsSettings"]["domainNameLabel"],
            f"{ANNOTATION}load-balancer-resource-group": place.resource_group,
            # Read by nothing in Azure's controller: what makes the IP static is the IP. It tells people.
            f"{ANNOTATION}load-balancer-ip-allocation-method": "static",
        },
    )


def address_seen(seen: Json, place: AzurePlace) -> AddressSeen | None:
    """The public IP as the sweep wants it; None if it is no address of this installation (a copied tag under another
    name makes none)."""
    tags: Mapping[str, str] = seen.get("tags") or {}
    server_id = tags.get(SERVER_TAG, "")
    if tags.get(INSTALLATION_TAG) != place.installation or seen["name"] != place.address_name(server_id):
        return None
    return AddressSeen(
        resource=seen["name"],
        server_id=server_id,
        ip=seen["properties"].get("ipAddress"),
        label=label_of(seen),
        attached=is_attached(seen),
        orphan_since=orphan_since(tags),
    )


def is_attached(seen: Json) -> bool:
    """Whether a balancer (or anything else) uses the IP now."""
    return seen["properties"].get("ipConfiguration") is not None


def orphan_since(tags: Mapping[str, str]) -> datetime | None:
    """The time in the orphan's tag. Illegible (somebody edited it) counts as not marked: the wait begins anew."""
    try:
        since = datetime.fromisoformat(tags[ORPHAN_TAG])
    except (KeyError, ValueError):
        return None
    return since if since.tzinfo is not None else since.replace(tzinfo=UTC)
