"""The port of a cloud. One contract suite holds for every implementation.

A server's address is three things that are made and removed in this order, each by a caller that can crash between any
two of them:

1. the **lease**, a row in PostgreSQL: the wish, committed before anything else;
2. the **resource** in the cloud (``ensure_address``), named after the server, so that a second try finds the first;
3. the **Service**, which names the resource in its annotations.

Removal is the other way round: ``release_address`` only after the Service is *gone* (not merely deleted: its finalizer
is the cluster's own cloud controller at work), and the lease's end only after ``release_address`` returned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from overworld.cloud.capacity import Capacity
from overworld.domain.servers import ServerId


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server can be reached, for as long as its lease lasts.

    ``resource`` is its name in the cloud. ``ip`` and ``fqdn`` are None where the cluster's own balancer chooses (then
    the Service's status tells); otherwise they are the truth, and a Service that shows another IP is in error.
    ``annotations`` are for the Service, all of them always: taking one away later means something to the cloud.
    """

    server_id: ServerId
    resource: str
    ip: str | None
    fqdn: str | None
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """An address of this installation as it is found in the cloud, whether or not anybody has leased it.

    ``attached``: a balancer uses it now. ``orphan_since``: when a sweep first found nobody's lease on it.
    """

    resource: str
    server_id: ServerId
    ip: str | None
    label: str | None
    attached: bool
    orphan_since: datetime | None


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of one generation of a world in a share, as a CSI volume: driver, volume attributes, mount options."""

    server_id: ServerId
    world_generation: int
    driver: str
    attributes: Mapping[str, str]
    mount_options: tuple[str, ...]


class MachineState(StrEnum):
    """Whether a node's machine can still write a world. Only ``STOPPED`` and ``GONE`` say that it cannot."""

    RUNNING = "running"  # or on its way up or down: something of it may still run
    STOPPED = "stopped"  # off: nothing on it runs until somebody starts it, and then it boots anew
    GONE = "gone"  # there is no such machine (any more)
    UNKNOWN = "unknown"  # nobody here can tell


class Cloud(ABC):
    """Addresses, shares and the machines of nodes: what outlives pods and Services. asyncio; one instance per role;
    keeps nothing in memory that could not be read again after a crash.

    Every method raises ``CloudUnavailable`` for what passes by itself and ``CloudRefused`` for what somebody has to
    mend; nothing else (but for ``asyncio.CancelledError``, after which the same call may be made again). Every call
    ends within the implementation's deadline (at most two minutes), and every call may be repeated at any time: also
    after it raised, after the process died in the middle of it, and while another process does the same.
    """

    @abstractmethod
    async def ensure_address(self, server_id: ServerId, label: str) -> Address:
        """The server has exactly one address, with this DNS label (3-63 characters, a DNS label), and this is it.

        Made if there is none; adopted if an earlier call made it, whatever became of that call; mended if its label or
        its tags differ. A mended label changes no IP. Reads once and writes nothing if all is well. Typically 2-10 s
        when it has to be made. Raises ``CloudRefused`` with the reason ``DnsLabelTaken``, ``AddressQuota``, or
        ``AddressForeign`` if something else has the resource's name. Not atomic: killed in the middle, it leaves at
        most the one resource that the next call adopts.
        """

    @abstractmethod
    async def release_address(self, server_id: ServerId) -> None:
        """The server's address is gone for good, and somebody else may get its IP. Nothing to release: returns.

        The caller has seen that the Service is gone. If a balancer uses the address all the same: ``CloudUnavailable``
        and nothing changed. Never touches what does not belong to this server of this installation.
        """

    @abstractmethod
    async def addresses(self) -> tuple[AddressSeen, ...]:
        """Every address of this installation that is there, complete, ordered by resource name: for the sweep."""

    @abstractmethod
    async def mark_orphan(self, server_id: ServerId, since: datetime | None) -> None:
        """Note beside the address itself that nobody has leased it since then (None: that somebody has), so that a
        restarted sweep does not begin to wait anew. An address that is gone: returns."""

    @abstractmethod
    async def capacity(self) -> Capacity:
        """How many addresses and balancer ports there can be, and how many addresses are used, by anybody."""

    @abstractmethod
    async def ensure_folder(self, server_id: ServerId, world_generation: int) -> Folder:
        """The share exists and has an (at first empty) folder for this generation of the server's world, which no
        other generation and no other server has. What is in the folder is left alone.
        Raises ``CloudRefused`` with the reason ``NoShares`` where there is none to be had."""

    @abstractmethod
    async def remove_folder(self, server_id: ServerId, world_generation: int) -> None:
        """The folder of that generation and all that was in it are gone for good; those of others stay. The caller has
        seen that nothing mounts it. Nothing to remove: returns. A folder too large for one call's deadline:
        ``CloudUnavailable``, and the next call goes on where this one stopped."""

    @abstractmethod
    async def machine_state(self, provider_id: str) -> MachineState:
        """What the machine of this node (its ``spec.providerID``) did when the cloud was asked: now, never from a
        memory. ``UNKNOWN`` where the cloud knows no machines, or says nothing of this one's power.

        ``STOPPED`` and ``GONE`` are relied upon to never let two games write one world: whoever implements this says
        so only if the cloud itself did, of this very machine. Reads only. Raises ``CloudRefused`` with the reason
        ``MachineForeign`` for a machine outside the cluster.
        """

    @abstractmethod
    async def power_off(self, provider_id: str) -> None:
        """The machine is off, as if its plug was pulled: nothing on it was asked, nothing on it runs. It is kept, and
        whoever starts it again finds its disks.

        The caller has seen that it does not answer, and asks ``machine_state`` afterwards before it relies on it. A
        machine that is off or gone: returns. One that takes longer than a call's deadline: ``CloudUnavailable``, and
        the next call goes on waiting. Raises ``CloudRefused`` with the reason ``NoMachines`` where there are none to
        be had, ``MachineForeign`` for a machine outside the cluster (nothing was sent).
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections. Addresses and folders stay. Safe to call twice."""
