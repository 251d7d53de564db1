"""The machines of a cluster's nodes as ARM keeps them: the rules, without HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azure_standin.operations import Operation, Operations, Refusal

Json = dict[str, Any]
NODE_GROUP = "MC_games_GameServerClusterProd_eastus"
"""Where AKS keeps the nodes of the cluster."""


def machine_id(subscription: str, pool: str, number: int, group: str = NODE_GROUP) -> str:
    """The ARM id of one machine of a scale set."""
    compute = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute"
    return f"{compute}/virtualMachineScaleSets/{pool}/virtualMachines/{number}"


@dataclass
class Machines:
    """``power`` is what each machine (by its id in lower case) does: running, stopped, deallocated, ...

    ``on_power_off`` is called with that id when the plug is pulled: a test's chance to really pull it.
    """

    operations: Operations = field(default_factory=Operations)
    power: dict[str, str] = field(default_factory=dict)
    on_power_off: Callable[[str], None] = lambda _id: None

    def add(self, identity: str, power: str = "running") -> None:
        """A machine, or what it does now."""
        self.power[identity.lower()] = power

    def view(self, identity: str) -> Json:
        """Its instance view; looking moves a power-off on. Raises Refusal."""
        key = identity.lower()
        self.operations.look_at_resource(key)
        power = self._find(key)
        statuses: list[Mapping[str, str]] = [{"code": "ProvisioningState/succeeded", "level": "Info"}]
        if power:
            statuses.append({"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"})
        return {"statuses": statuses}

    def power_off(self, identity: str, query: Mapping[str, str]) -> Operation:
        """Begin to pull its plug. Raises Refusal."""
        key = identity.lower()
        if query.get("skipShutdown") != "true":
            raise Refusal(400, "InvalidParameter", "The stand-in only pulls plugs: skipShutdown=true.")
        power = self._find(key)
        if any(one.resource == key and one.status == "InProgress" for one in self.operations.begun.values()):
            raise Refusal(409, "OperationNotAllowed", "Another operation on this machine is in progress.")
        if power in {"stopped", "deallocated"}:
            return self.operations.begin(key, lambda _error: None)
        self.power[key] = "stopping"
        return self.operations.begin(key, lambda error: self._off(key, error))

    def _off(self, key: str, error: str | None) -> None:
        if error is not None:
            self.power[key] = "running"
            return
        self.on_power_off(key)
        self.power[key] = "stopped"

    def _find(self, key: str) -> str:
        if key in self.power:
            return self.power[key]
        pool = key.rpartition("/virtualmachines/")[0]
        if any(other.startswith(f"{pool}/") for other in self.power):
            raise Refusal(404, "ResourceNotFound", "The machine was not found.")
        raise Refusal(404, "ParentResourceNotFound", "Its scale set was not found.")
