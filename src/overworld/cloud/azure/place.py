"""Where on Azure an installation lives, and what its resources are called there. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from overworld.domain.servers import ServerId

INSTALLATION_TAG = "overworld-installation"
SERVER_TAG = "overworld-server"
ORPHAN_TAG = "overworld-orphan-since"

# By any of these the cluster's cloud controller takes an address for its own, and deletes it with the Service.
FORBIDDEN_TAG = re.compile(r"(service|k8s-azure-.*|kubernetes-cluster-name|aks-managed.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AzurePlace:
    """Names that the operator chose. ``installation`` (1-20 of a-z, 0-9 and -) tells several installations in one
    resource group apart and is never changed: resources are found by it.

    ``node_resource_group``: where the cluster's nodes are (AKS: MC_<group>_<cluster>_<region>); None: no machine is
    looked at or powered off. ``balancer_ports``: Azure gives a node's network card 300 rules; less if other Services
    share the balancer. ``zones`` is empty in a region without zones. ``share_gib``: the size of a share that has to be
    made (100 at least for a premium account).
    """

    installation: str
    subscription_id: str
    resource_group: str
    region: str
    node_resource_group: str | None = None
    storage_account: str | None = None
    share: str = "overworld"
    share_gib: int = 100
    zones: tuple[str, ...] = ("1", "2", "3")
    balancer_ports: int = 300

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", self.installation):
            raise ValueError(
                f"installation is {self.installation!r}: 1-20 of a-z, 0-9 and -, neither first nor last a -"
            )

    @property
    def group_path(self) -> str:
        """The resource group, as ARM addresses it."""
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"

    @property
    def addresses_path(self) -> str:
        """All public addresses of the resource group."""
        return f"{self.group_path}/providers/Microsoft.Network/publicIPAddresses"

    @property
    def usages_path(self) -> str:
        """The network quotas of the subscription in the region."""
        return f"/subscriptions/{self.subscription_id}/providers/Microsoft.Network/locations/{self.region}/usages"

    @property
    def share_path(self) -> str:
        """The share, as ARM addresses it."""
        account = f"{self.group_path}/providers/Microsoft.Storage/storageAccounts/{self.storage_account}"
        return f"{account}/fileServices/default/shares/{self.share}"

    def address_name(self, server_id: ServerId) -> str:
        """The one name that a server's address has here."""
        return f"overworld-{self.installation}-{server_id}"

    def address_path(self, server_id: ServerId) -> str:
        """The server's address, as ARM addresses it."""
        return f"{self.addresses_path}/{self.address_name(server_id)}"

    @staticmethod
    def folder_name(server_id: ServerId, world_generation: int) -> str:
        """The one name that a generation of a world has in the share."""
        return f"{server_id}-world-{world_generation}"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where Azure's services answer. The defaults are the public cloud's; another is for a sovereign cloud, or a
    stand-in (``ca_file``: the only certificate authority believed, as PEM; ``storage``: takes the account's place)."""

    arm: str = "https://management.azure.com"
    audience: str = "https://management.azure.com"
    entra: str = "https://login.microsoftonline.com"
    storage: str = "https://{account}.file.core.windows.net"
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often Azure is asked, as a value.

    ``tries`` of one request, the first included; ``first_pause`` before the second, then twice as long each;
    ``longest_pause``: a longer ``Retry-After`` than this is not waited for but handed to the caller, who has other work
    to do. ``poll_interval``: between two looks at a long-running operation, if Azure names none. ``deadline``: of one
    call of the port, all told.
    """

    tries: int = 3
    first_pause: timedelta = timedelta(seconds=0.5)
    longest_pause: timedelta = timedelta(seconds=5)
    poll_interval: timedelta = timedelta(seconds=1)
    deadline: timedelta = timedelta(seconds=90)
