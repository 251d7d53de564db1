"""Load balancers, their pools, and security groups, as far as a cluster's cloud controller needs them, without HTTP.

A public IP that a front end names is attached to it, and detached when no front end does any more.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from typing import Any

from azure_standin.network import Network
from azure_standin.operations import Operation, Refusal

Json = dict[str, Any]
KINDS = {"loadbalancers", "networksecuritygroups"}


@dataclass
class Balancers:
    """Resources by their id, and parts of them as resources of their own. ``changes`` counts the writes that ended."""

    network: Network
    resources: dict[str, Json] = field(default_factory=dict)
    changes: int = 0
    _counter: Any = field(default_factory=itertools.count)

    def get(self, path: str) -> Json:
        """The resource; looking moves its operation on."""
        resource = self.resources.get(path.lower())
        if resource is None:
            raise Refusal(404, "ResourceNotFound", f"The resource {path} was not found.")
        shown = copy.deepcopy(resource)
        self.network.operations.look_at_resource(resource["id"])
        return shown

    def put(self, path: str, body: Json) -> tuple[Json, Operation, bool]:
        """Make or replace: the resource as it is at once, the operation, and whether it is new."""
        key = path.lower()
        before = self.resources.get(key)
        stored = copy.deepcopy(body)
        properties = stored.setdefault("properties", {})
        _check_rules(properties)
        self._attach(before, stored, path)
        properties["provisioningState"] = "Updating"
        stored |= {"id": path, "name": path.rpartition("/")[2], "etag": f'W/"{next(self._counter)}"'}
        self.resources[key] = stored
        operation = self.network.operations.begin(path, lambda error: self._written(key, error))
        return copy.deepcopy(stored), operation, before is None

    def _attach(self, before: Json | None, after: Json, path: str) -> None:
        old, new = (_front_ends(one) for one in (before, after))
        for public_ip in new.values():
            if public_ip not in self.network.addresses:
                raise Refusal(400, "InvalidResourceReference", f"There is no public IP {public_ip}.")
        for public_ip in set(old.values()) - set(new.values()):
            self.network.detach(public_ip)
        for name, public_ip in new.items():
            self.network.attach(public_ip, f"{path}/frontendIPConfigurations/{name}")

    def _written(self, key: str, error: str | None) -> None:
        self.resources[key]["properties"]["provisioningState"] = "Succeeded" if error is None else "Failed"
        self.changes += 1


def _front_ends(balancer: Json | None) -> dict[str, str]:
    """The name of the public IP of each front end."""
    listed = balancer["properties"].get("frontendIPConfigurations", ()) if balancer is not None else ()
    return {one["name"]: one["properties"]["publicIPAddress"]["id"].rpartition("/")[2] for one in listed}


def _check_rules(properties: Json) -> None:
    """An address has each port of a protocol once."""
    addresses = _front_ends({"properties": properties})
    taken: dict[tuple[str, str, int], str] = {}
    for rule in properties.get("loadBalancingRules", ()):
        details = rule["properties"]
        address = addresses[details["frontendIPConfiguration"]["id"].rpartition("/")[2]]
        other = taken.setdefault((address, details["protocol"].lower(), details["frontendPort"]), rule["name"])
        if other != rule["name"]:
            message = f"Load balancing rules {other} and {rule['name']} use the same frontend port and protocol."
            raise Refusal(400, "RulesUseSameFrontendPortProtocolAndIPConfig", message)
