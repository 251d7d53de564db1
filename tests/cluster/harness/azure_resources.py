"""What the cloud controller keeps in ARM for a Service: its public IP, and its part of the one balancer."""

from __future__ import annotations

import copy
from typing import Any

from azure_standin.arm import resource_id
from cluster.harness.annotations import Wishes, read_wishes
from cluster.harness.arm_client import ArmClient

BALANCER = "kubernetes"
LOCATION = "eastus"
OWN_TAG = "k8s-azure-service"
_OWN_TAGS = (OWN_TAG, "service")
_LISTS = ("frontendIPConfigurations", "loadBalancingRules", "probes")


class MissingPublicIp(Exception):
    """The annotation names a public IP that is not there, or has no address yet."""


class AzureResources:
    """The resources of one cluster, whose own resource group is ``own_group``. ARM holds all state, none is here."""

    def __init__(self, arm: ArmClient, own_group: str) -> None:
        self._arm, self._own_group = arm, own_group
        self._balancer = resource_id(own_group, "loadBalancers", BALANCER)
        self._pool = f"{self._balancer}/backendAddressPools/{BALANCER}"
        self._security = resource_id(own_group, "networkSecurityGroups", "aks-agentpool-nsg")

    async def ensure(self, service: Any, nodes: list[str]) -> str:
        """Public IP, balancer, pool, security group, in this order; what is right is not written. The address.

        Raises BadAnnotation, MissingPublicIp, ArmRefused.
        """
        wishes = read_wishes(service.metadata.annotations or {}, self._own_group)
        public_ip = await self._ensure_public_ip(service, wishes)
        address = public_ip["properties"].get("ipAddress")
        if address is None:
            raise MissingPublicIp(f"The public IP {public_ip['name']} of {_full_name(service)} has no address yet")
        before = await self._arm.get(self._balancer) or {"location": LOCATION, "properties": {}}
        after = self._without(before, service)
        mine = _render(service, public_ip["id"], wishes, self._balancer)
        for name in _LISTS:
            after["properties"][name] = sorted([*after["properties"].get(name, ()), *mine[name]], key=_name)
        after["properties"]["backendAddresses"] = [{"ipAddress": node} for node in nodes]
        if _essence(after) != _essence(before):
            await self._arm.put(self._balancer, after)
            await self._arm.put(self._pool, {"properties": {"members": _members(after)}})
            await self._write_security(after)
        return str(address)

    async def remove(self, service: Any) -> None:
        """Take the Service out of the balancer; its public IP stays, unless it is tagged as the controller's own."""
        before = await self._arm.get(self._balancer)
        if before is not None:
            after = self._without(before, service)
            if _essence(after) != _essence(before):
                await self._arm.put(self._balancer, after)
                await self._arm.put(self._pool, {"properties": {"members": _members(before)}})
                await self._write_security(after)
        wishes = read_wishes(service.metadata.annotations or {}, self._own_group)
        path = resource_id(wishes.group, "publicIPAddresses", wishes.pip_name or _own_name(service))
        public_ip = await self._arm.get(path)
        tags = (public_ip or {}).get("tags") or {}
        if any(_full_name(service) in str(tags.get(tag, "")).split(",") for tag in _OWN_TAGS):
            await self._arm.delete(path)

    async def _ensure_public_ip(self, service: Any, wishes: Wishes) -> dict[str, Any]:
        path = resource_id(wishes.group, "publicIPAddresses", wishes.pip_name or _own_name(service))
        current = await self._arm.get(path)
        if current is None and wishes.pip_name is not None:
            raise MissingPublicIp(
                f"PublicIP from annotation azure-pip-name(-IPv6)={wishes.pip_name} for service {_full_name(service)} "
                "doesn't exist"
            )
        body = copy.deepcopy(current) or {
            "location": LOCATION,
            "sku": {"name": "Standard"},
            "tags": {OWN_TAG: _full_name(service), "k8s-azure-cluster-name": "kubernetes"},
            "properties": {"publicIPAllocationMethod": "Static"},
        }
        label = (body["properties"].get("dnsSettings") or {}).get("domainNameLabel", "")
        if current is not None and wishes.label in {None, label}:
            return current
        if wishes.label:
            body["properties"]["dnsSettings"] = {"domainNameLabel": wishes.label}
        elif wishes.label is not None:
            body["properties"].pop("dnsSettings", None)
        return await self._arm.put(path, body)

    def _without(self, balancer: dict[str, Any], service: Any) -> dict[str, Any]:
        rest = copy.deepcopy(balancer)
        for name in _LISTS:
            kept = [one for one in rest["properties"].get(name, ()) if not _is_part_of(one["name"], service)]
            rest["properties"][name] = kept
        return rest

    async def _write_security(self, balancer: dict[str, Any]) -> None:
        """One rule for each protocol and port, shared by all addresses that use it."""
        rules = {
            f"{rule['properties']['protocol']}-{rule['properties']['frontendPort']}"
            for rule in balancer["properties"]["loadBalancingRules"]
        }
        await self._arm.put(self._security, {"location": LOCATION, "properties": {"securityRules": sorted(rules)}})


def _render(service: Any, public_ip: str, wishes: Wishes, balancer: str) -> dict[str, list[dict[str, Any]]]:
    name = _own_name(service)
    frontend = {"name": name, "properties": {"publicIPAddress": {"id": public_ip}}}
    rules = [
        {
            "name": f"{name}-{port.protocol}-{port.port}",
            "properties": {
                "protocol": port.protocol.capitalize() if port.protocol == "TCP" else port.protocol,
                "frontendPort": port.port,
                "idleTimeoutInMinutes": wishes.idle_minutes,
                "frontendIPConfiguration": {"id": f"{balancer}/frontendIPConfigurations/{name}"},
            },
        }
        for port in service.spec.ports or ()
    ]
    if service.spec.externalTrafficPolicy == "Local":
        probe = {"protocol": "Http", "port": service.spec.healthCheckNodePort, "requestPath": "/healthz"}
    else:  # the node port of the first TCP port, which is 0 where there are no node ports
        ports = [port.nodePort or 0 for port in service.spec.ports or () if port.protocol == "TCP"]
        probe = {"protocol": "Tcp", "port": ports[0] if ports else 0}
    probes = [{"name": name, "properties": {**probe, "intervalInSeconds": 5, "numberOfProbes": 2}}]
    return {"frontendIPConfigurations": [frontend], "loadBalancingRules": rules, "probes": probes}


def _essence(balancer: dict[str, Any]) -> object:
    return {name: balancer["properties"].get(name) or [] for name in (*_LISTS, "backendAddresses")}


def _members(balancer: dict[str, Any]) -> list[str]:
    return [member["ipAddress"] for member in balancer["properties"].get("backendAddresses", ())]


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"])


def _own_name(service: Any) -> str:
    """The name that Kubernetes gives to what it makes for a Service: ``a`` and the uid, 32 characters."""
    return f"a{service.metadata.uid.replace('-', '')}"[:32]


def _is_part_of(name: str, service: Any) -> bool:
    return name == _own_name(service) or name.startswith(f"{_own_name(service)}-")


def _full_name(service: Any) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"
