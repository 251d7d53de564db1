"""The machines of AKS nodes as ARM knows them: which one a node's providerID names, and whether it runs. Pure."""

from __future__ import annotations

import re

from overworld.cloud.azure.place import AzurePlace
from overworld.cloud.azure.public_ip import Json
from overworld.cloud.base import MachineState
from overworld.domain.errors import CloudRefused

# A node of a scale set, which AKS makes by default, or a machine of its own (its pools of single machines).
_MACHINE = re.compile(
    r"azure://(?P<path>/subscriptions/(?P<subscription>[\w-]+)/resourceGroups/(?P<group>[\w.()-]+)"
    r"/providers/Microsoft\.Compute/(virtualMachineScaleSets/\w[\w.-]*/)?virtualMachines/\w[\w.-]*)",
    re.IGNORECASE,
)

OFF = frozenset({"PowerState/stopped", "PowerState/deallocated"})
"""Only these: a machine that is *stopping* or *deallocating* may still write."""
ON = frozenset({"PowerState/running", "PowerState/starting", "PowerState/stopping", "PowerState/deallocating"})


def machine_path(place: AzurePlace, provider_id: str) -> str:
    """Where ARM has the machine of a node. Raises ``CloudRefused`` (``MachineForeign``) unless it is in the cluster's
    own node resource group: a node object is written by its node, and must not point at somebody else's machine."""
    match = _MACHINE.fullmatch(provider_id)
    ours = (place.subscription_id.lower(), (place.node_resource_group or "").lower())
    if match is None or (match["subscription"].lower(), match["group"].lower()) != ours:
        raise CloudRefused(
            "MachineForeign",
            f"The machine {provider_id or '(no providerID)'} is not in the cluster's node resource group "
            f"({place.node_resource_group or 'not set'}): it is neither asked about nor powered off. If that is the "
            "wrong group, set OVERWORLD_AZURE_NODE_RESOURCE_GROUP.",
            retry_after=None,
        )
    return match["path"]


def machine_state_of(view: Json | None) -> MachineState:
    """What an instance view says; None is a machine that is not there."""
    if view is None:
        return MachineState.GONE
    codes = {status.get("code", "") for status in view.get("statuses") or ()}
    if codes & ON:  # with two that disagree, the careful one counts
        return MachineState.RUNNING
    return MachineState.STOPPED if codes & OFF else MachineState.UNKNOWN
