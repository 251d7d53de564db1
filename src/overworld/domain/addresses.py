"""A static public address, as the cloud holds it for a server: it outlives the server's pods and services."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """A public IP that exists already. ``public_ip_name`` is its resource in ``resource_group``; ``dns_label`` is
    unique in the region; ``ip`` is what players reach, and what a Service's status is compared with."""

    ip: str
    public_ip_name: str
    resource_group: str
    dns_label: str
