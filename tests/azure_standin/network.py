"""Public IPs as ARM keeps them: the rules, without HTTP. Behaves as docs/azure-addresses.md says that Azure does."""

from __future__ import annotations

import copy
import ipaddress
import itertools
import re
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
LABEL = re.compile(r"[a-z][a-z0-9-]{1,61}[a-z0-9]")
UNSETTLED = {"Updating", "Deleting"}


class Refusal(Exception):
    """An answer that is an error: HTTP status, Azure's code, its sentence."""

    def __init__(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}")
        self.status, self.code, self.message, self.headers = status, code, message or code, headers or {}


@dataclass
class Operation:
    """A long-running operation: it goes on by one step whenever anybody looks at it or at its resource."""

    id: str
    resource: str
    deletes: bool
    steps_left: int
    error: str | None = None
    status: str = "InProgress"


@dataclass
class Network:
    """The public IPs of one subscription in one region.

    ``limit`` is the region's quota; ``foreign_labels`` are DNS labels that another tenant owns; ``steps`` is how often
    an operation is looked at before it ends; ``operation_error`` lets the next ones end Failed with that code.
    """

    region: str = "eastus"
    limit: int = 10
    steps: int = 1
    foreign_labels: set[str] = field(default_factory=set)
    operation_errors: list[str] = field(default_factory=list)
    addresses: dict[str, Json] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    ever: list[str] = field(default_factory=list)  # every IP number that was ever given out
    _numbers: Any = field(default_factory=lambda: ipaddress.ip_network("203.0.113.0/24").hosts())
    _counter: Any = field(default_factory=itertools.count)

    def get(self, name: str) -> Json:
        """The resource as ARM shows it; looking moves its operation on."""
        resource = self._find(name)
        shown = copy.deepcopy(resource)
        for operation in self._running(name):
            self._step(operation)
        return shown

    def put(self, path: str, name: str, body: Json) -> tuple[Json, Operation, bool]:
        """Make or replace: the resource as it is at once, the operation, and whether it is new."""
        before = self.addresses.get(name)
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
            "id": path,
            "type": "Microsoft.Network/publicIPAddresses",
            "etag": f'W/"{next(self._counter)}"',
            **{key: copy.deepcopy(body[key]) for key in kept if key in body},
            "properties": properties,
        }
        self.addresses[name] = resource
        return copy.deepcopy(resource), self._begin(name, deletes=False), before is None

    def patch_tags(self, name: str, tags: dict[str, str]) -> Json:
        """ARM's UpdateTags: all tags are replaced."""
        resource = self._find(name)
        resource["tags"] = dict(tags)
        return copy.deepcopy(resource)

    def delete(self, name: str) -> Operation | None:
        """Begin to delete; None if there is nothing."""
        if name not in self.addresses:
            return None
        resource = self._find(name)
        if resource["properties"]["provisioningState"] in UNSETTLED:
            raise Refusal(409, "AnotherOperationInProgress", "Another operation on this resource is in progress.")
        if "ipConfiguration" in resource["properties"]:
            raise Refusal(400, "PublicIPAddressCannotBeDeleted", f"{name} is still allocated to a resource.")
        resource["properties"]["provisioningState"] = "Deleting"
        return self._begin(name, deletes=True)

    def look_at(self, operation_id: str) -> Operation:
        """An operation's state, after one more step."""
        if operation_id not in self.operations:
            raise Refusal(404, "OperationNotFound")
        operation = self.operations[operation_id]
        self._step(operation)
        return operation

    def attach(self, name: str, to: str) -> None:
        """A balancer's front end ``to`` uses the address (what a cloud controller does)."""
        self._find(name)["properties"]["ipConfiguration"] = {"id": to}

    def detach(self, name: str) -> None:
        """No balancer uses it any more."""
        self._find(name)["properties"].pop("ipConfiguration", None)

    def usages(self) -> list[Json]:
        """The region's quotas, with two that are about something else."""
        used = len(self.addresses)
        counts = {"VirtualNetworks": (1, 1000), "PublicIPAddresses": (used, self.limit)}
        counts |= {"IPv4StandardSkuPublicIpAddresses": (used, self.limit), "LoadBalancers": (1, 1000)}
        return [
            {"name": {"value": name, "localizedValue": name}, "unit": "Count", "currentValue": used, "limit": limit}
            for name, (used, limit) in counts.items()
        ]

    def _find(self, name: str) -> Json:
        try:
            return self.addresses[name]
        except KeyError:
            raise Refusal(404, "ResourceNotFound", f"The resource publicIPAddresses/{name} was not found.") from None

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

    def _begin(self, name: str, *, deletes: bool) -> Operation:
        error = self.operation_errors.pop(0) if self.operation_errors else None
        operation = Operation(f"op-{next(self._counter)}", name, deletes, self.steps, error)
        self.operations[operation.id] = operation
        return operation

    def _running(self, name: str) -> list[Operation]:
        return [one for one in self.operations.values() if one.resource == name and one.status == "InProgress"]

    def _step(self, operation: Operation) -> None:
        if operation.status != "InProgress":
            return
        operation.steps_left -= 1
        if operation.steps_left > 0:
            return
        properties = self.addresses[operation.resource]["properties"]
        if operation.error is not None:
            operation.status = properties["provisioningState"] = "Failed"
            return
        operation.status = "Succeeded"
        if operation.deletes:
            del self.addresses[operation.resource]
            return
        properties["provisioningState"] = "Succeeded"
        if "ipAddress" not in properties:
            properties["ipAddress"] = str(next(self._numbers))
            self.ever.append(properties["ipAddress"])
        if label := properties.get("dnsSettings", {}).get("domainNameLabel"):
            properties["dnsSettings"]["fqdn"] = f"{label}.{self.region}.cloudapp.azure.com"
