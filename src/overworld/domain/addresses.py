"""The lease of a public address: a server's own for as long as its row lives, whatever runs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from overworld.domain.observed import WantedAddress
from overworld.domain.servers import ServerId

ATTEMPT = "overworld/address-attempt"
"""An annotation of ours on a server's Service. Azure's controller tries again at once when any annotation changes, and
up to five minutes later when none does."""

LEASED_IP = "overworld/address"
"""The IP that is leased to the server, on its Service, whose status may tell of another."""

SHORTEST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(minutes=5)

_LABEL_CHARACTERS = 63


@dataclass(frozen=True, slots=True)
class AddressLease:
    """What is promised to a server, and what the cloud has made of it.

    ``label`` is the DNS label that it has (or will have); ``ports`` how many the balancer needs for it. ``resource``,
    ``ip``, ``fqdn`` and ``annotations`` are what the cloud answered last, None and empty before it answered;
    ``attempt`` grows with every look at an address that does not lead to its server yet; ``checked_at`` is the time
    of the last such look or of its making.
    """

    server_id: ServerId
    label: str
    ports: int
    leased_at: datetime
    resource: str | None = None
    ip: str | None = None
    fqdn: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0
    checked_at: datetime | None = None

    @property
    def wanted(self) -> WantedAddress | None:
        """What the server's way in must have; None until the cloud has made the address."""
        if self.resource is None:
            return None
        ours = {ATTEMPT: str(self.attempt)} | ({LEASED_IP: self.ip} if self.ip is not None else {})
        return WantedAddress(self.ip, {**self.annotations, **ours})

    def next_check(self, pending_since: datetime) -> datetime:
        """When to look at an address again that has not led to its server since then: after as long as it has lasted
        already, so that what takes hours is not asked for every second."""
        last = self.checked_at or self.leased_at
        return last + min(max(last - pending_since, SHORTEST_WAIT), LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class Leased:
    """What the rows say is promised already.

    ``ports``: the ports of all servers with a leased address, kept ones of deleted servers included.
    ``addresses_to_come``: leases whose resource was not yet seen in the cloud, so that the cloud does not count them.
    """

    ports: int
    addresses_to_come: int


def derive_label(name: str, server_id: ServerId) -> str:
    """A DNS label (3 to 63 of a-z, 0-9 and -, first a letter) that people recognize and that no other server has.

    From the server's name at its creation; a later name does not change it, since players know it.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).lstrip("-0123456789")[: _LABEL_CHARACTERS - 1 - len(server_id)].strip("-")
    return f"{slug}-{server_id}" if slug else server_id
