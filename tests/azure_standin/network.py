"""Public IPs as ARM keeps them: the rules, without HTTP. Behaves as docs/azure-addresses.md says that Azure does."""

from __future__ import annotations

import copy
import ipaddress
import itertools
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from azure_standin.operations import Operation, Operations, Refusal

Json = dict[str, Any]
LABEL = re.compile(r"[a-z][a-z0-9-]{1,61}[a-z0-9]")
UNSETTLED = {"Updating", "Deleting"}


def _numbers() -> deque[str]:
    return deque(str(number) for number in ipaddress.ip_network("198.18.113.0/24").hosts())


@dataclass
class Network:
    """The public IPs of one subscription in one region, by name.

    ``limit`` is the region's quota; ``foreign_labels`` are DNS labels that another tenant owns. Numbers of deleted IPs
    are given out again only after all others were. Not modelled: one name in two resource groups.
    """

    operations: Operations = field(default_factory=Operations)
    region: str = "eastus"
    limit: int = 10
    foreign_labels: set[str] = field(default_factory=set)
    addresses: dict[str, Json] = field(default_factory=dict)
    ever: list[str] = field(default_factory=list)  # every IP number that was ever given out
    _numbers: deque[str] = field(default_factory=_numbers)
    _counter: Any = field(default_factory=itertools.count)

    def get(self, path: str) -> Json:
        """The resource as ARM shows it; looking moves its operation on."""
        resource = self._find(path)
        shown = copy.deepcopy(resource)
        self.operations.look_at_resource(resource["id"])
        return shown

    def in_group(self, group: str) -> list[str]:
        """The ids of every public IP of a resource group, by name."""
        place = f"/resourcegroups/{group.lower()}/"
        return [one["id"] for _, one in sorted(self.addresses.items()) if place in one["id"].lower()]

    def put(self, path: str, body: Json) -> tuple[Json, Operation, bool]:
        """Make or replace: the resource as it is at once, the operation, and whether it is new."""
        name = path.rpartition("/")[2]
        before = self.addresses.get(name)
        if before is not None and before["id"].lower() != path.lower():
            raise Refusal(409, "NotModelled", f"The stand-in has one {name} only, and it is {before['id']}.")
        if before is not None and before["properties"]["provisioningState"] in UNSETTLED:
            raise Refusal(409, "AnotherOperationInProgress", "Another operation on this resource is in progress.")
        self._check(name, body, before)
        properties = copy.deepcopy(body["properties"])
        old = before["properties"] if before is not None else {}
        properties |= {key: old[key] for key in ("ipAddress", "ipConfiguration") if key in old}
        properties |= {"provisioningState": "Updating", "resourceGuid": f"guid-{next(self._counter)}"}
        kept = ("location", "sku", "zones", "tags")
        resource: Json = {
            "name": name,
            "id": before["id"] if before is not None else path,
            "type": "Microsoft.Network/publicIPAddresses",
            "etag": f'W/"{next(self._counter)}"',
            **{key: copy.deepcopy(body[key]) for key in kept if key in body},
            "properties": properties,
        }
        self.addresses[name] = resource
        operation = self.operations.begin(resource["id"], lambda error: self._written(name, error))
        return copy.deepcopy(resource), operation, before is None

    def patch_tags(self, path: str, tags: dict[str, str]) -> Json:
        """ARM's UpdateTags: all tags are replaced."""
        resource = self._find(path)
        resource["tags"] = dict(tags)
        return copy.deepcopy(resource)

    def delete(self, path: str) -> Operation | None:
        """Begin to delete; None if there is nothing."""
        name = path.rpartition("/")[2]
        if name not in self.addresses:
            return None
        resource = self._find(path)
        if resource["properties"]["provisioningState"] in UNSETTLED:
            raise Refusal(409, "AnotherOperationInProgress", "Another operation on this resource is in progress.")
        if "ipConfiguration" in resource["properties"]:
            raise Refusal(400, "PublicIPAddressCannotBeDeleted", f"{name} is still allocated to a resource.")
        resource["properties"]["provisioningState"] = "Deleting"
        return self.operations.begin(resource["id"], lambda error: self._deleted(name, error))

    def attach(self, name: str, to: str) -> None:
        """A balancer's front end ``to`` uses the address (what a cloud controller does)."""
        self.addresses[name]["properties"]["ipConfiguration"] = {"id": to}

    def detach(self, name: str) -> None:
        """No balancer uses it any more."""
        self.addresses[name]["properties"].pop("ipConfiguration", None)

    def is_label_free(self, label: str) -> bool:
        """Whether a new public IP could have the label."""
        return label not in self.foreign_labels | self._labels_of_others("")

    def usages(self) -> list[Json]:
        """The region's quotas, with two that are about something else."""
        used = len(self.addresses)
        counts = {"VirtualNetworks": (1, 1000), "PublicIPAddresses": (used, self.limit)}
        counts |= {"IPv4StandardSkuPublicIpAddresses": (used, self.limit), "LoadBalancers": (1, 1000)}
        return [
            {"name": {"value": name, "localizedValue": name}, "unit": "Count", "currentValue": used, "limit": limit}
            for name, (used, limit) in counts.items()
        ]

    def _find(self, path: str) -> Json:
        name = path.rpartition("/")[2]
        resource = self.addresses.get(name)
        if resource is None or resource["id"].lower() != path.lower():
            raise Refusal(404, "ResourceNotFound", f"The resource publicIPAddresses/{name} was not found.")
        return resource

    def _check(self, name: str, body: Json, before: Json | None) -> None:
        properties = body["properties"]
        if body.get("location") != self.region:
            raise Refusal(400, "InvalidResourceLocation")
        if body["sku"]["name"] == "Standard" and properties["publicIPAllocationMethod"] != "Static":
            raise Refusal(400, "PublicIPAddressWithStandardSkuMustBeStatic")
        if before is not None and before.get("zones") != body.get("zones"):
            raise Refusal(400, "ResourceAvailabilityZonesCannotBeModified")
        if before is None and len(self.addresses) >= self.limit:
            message = f"Cannot create more than {self.limit} public IP addresses for this subscription in this region."
            raise Refusal(400, "PublicIPCountLimitReached", message)
        label = (properties.get("dnsSettings") or {}).get("domainNameLabel")
        if label is not None:
            if not LABEL.fullmatch(label):
                raise Refusal(400, "InvalidDomainNameLabel", f"The domain name label {label} is invalid.")
            if label in self.foreign_labels or label in self._labels_of_others(name):
                raise Refusal(400, "DnsRecordInUse", f"DNS record {label} is already used by another public IP.")

    def _labels_of_others(self, name: str) -> set[str]:
        return {
            other["properties"].get("dnsSettings", {}).get("domainNameLabel")
            for other in self.addresses.values()
            if other["name"] != name
        }

    def _written(self, name: str, error: str | None) -> None:
        properties = self.addresses[name]["properties"]
        properties["provisioningState"] = "Succeeded" if error is None else "Failed"
        if error is not None:
            return
        if "ipAddress" not in properties:
            properties["ipAddress"] = self._numbers.popleft()
            self.ever.append(properties["ipAddress"])
        if label := properties.get("dnsSettings", {}).get("domainNameLabel"):
            properties["dnsSettings"]["fqdn"] = f"{label}.{self.region}.cloudapp.azure.com"

    def _deleted(self, name: str, error: str | None) -> None:
        if error is not None:
            self.addresses[name]["properties"]["provisioningState"] = "Failed"
            return
        gone = self.addresses.pop(name)
        if number := gone["properties"].get("ipAddress"):
            self._numbers.append(number)
